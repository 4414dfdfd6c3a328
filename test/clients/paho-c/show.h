/* Prints what a client saw, a JSON object a line, and waits for it. */
#ifndef SHOW_H
#define SHOW_H

/* A case begins: what was seen before is forgotten. */
void show_begin(const char *name);

/* `more` is what follows in the object, such as ",\"reason\":0", or "". */
void show(const char *event, const char *client, const char *more);
void show_number(const char *event, const char *client, const char *name, int value);
void show_message(const char *client, const char *topic, const char *payload, int length, int retained);

/* Until so many lines of this case have all the parts, which NULL ends. */
void show_wait(int count, ...);

/* Ends the program unless it is 0. */
void check(int code, const char *what);

#endif
