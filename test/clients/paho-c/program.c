/* Eclipse Paho for C. Arguments: host, port, version of MQTT, cases. docs/clients.md shows the marked part. */
#include <MQTTClient.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "show.h"

enum { timeout_ms = 10000 };

static char url[256];
static int five;

typedef struct {
    const char *name;
    MQTTClient mqtt;
} Client;

/* <snippet> */
/* Called in a thread of the library. */
static int received(void *context, char *topic, int topic_length, MQTTClient_message *packet)
{
    (void)topic_length; /* 0 unless the topic has a NUL in it, which no topic of MQTT has */
    show_message(context, topic, packet->payload, packet->payloadlen, packet->retained);
    MQTTClient_freeMessage(&packet);
    MQTTClient_free(topic);
    return 1; /* taken: it is acknowledged */
}

/* Connects a user with MQTT 3.1.1; what comes while they are away waits for them. */
static MQTTClient connect_311(const char *user, const char *client_id)
{
    MQTTClient client;
    MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
    options.username = user;
    options.password = "secret";
    options.cleansession = 0;
    check(MQTTClient_create(&client, url, client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL), "create");
    check(MQTTClient_setCallbacks(client, (void *)user, NULL, received, NULL), "callbacks");
    check(MQTTClient_connect(client, &options), "connect");
    return client;
}

/* The same with MQTT 5. */
static MQTTClient connect_5(const char *user, const char *client_id)
{
    MQTTClient client;
    MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
    MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer5;
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, .value.integer4 = 30 * 24 * 3600};
    create.MQTTVersion = MQTTVERSION_5;
    options.username = user;
    options.password = "secret";
    options.cleanstart = 0;
    check(MQTTProperties_add(&properties, &expiry), "properties");
    check(MQTTClient_createWithOptions(&client, url, client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create), "create");
    check(MQTTClient_setCallbacks(client, (void *)user, NULL, received, NULL), "callbacks");
    MQTTResponse connack = MQTTClient_connect5(client, &options, &properties, NULL);
    check(connack.reasonCode, "connect");
    MQTTResponse_free(connack);
    MQTTProperties_free(&properties);
    return client;
}

static void hello(MQTTClient alice, MQTTClient bob)
{
    if (five) {
        MQTTResponse suback = MQTTClient_subscribe5(bob, "im/u/bob/#", 1, NULL, NULL);
        show_number("subscribed", "bob", "reasons", suback.reasonCode);
        MQTTResponse_free(suback);
    } else {
        check(MQTTClient_subscribe(bob, "im/u/bob/#", 1), "subscribe");
        show("subscribed", "bob", "");
    }
    /* Your own id for the message makes sending it again harmless, whatever happens to the connection. */
    char text[] = "{\"cid\":\"c-1\",\"body\":\"hello\"}";
    MQTTClient_message message = MQTTClient_message_initializer;
    MQTTClient_deliveryToken token;
    message.payload = text;
    message.payloadlen = (int)strlen(text);
    message.qos = 1;
    if (five) {
        MQTTResponse sent = MQTTClient_publishMessage5(alice, "im/to/u/bob", &message, &token);
        check(sent.reasonCode, "publish");
        MQTTResponse_free(sent);
    } else {
        check(MQTTClient_publishMessage(alice, "im/to/u/bob", &message, &token), "publish");
    }
    check(MQTTClient_waitForCompletion(alice, token, 10000), "PUBACK"); /* of MQTT 5: its reason goes to MQTTClient_setPublished */
    show("acked", "alice", "");
}
/* </snippet> */

static void message(void)
{
    MQTTClient bob = five ? connect_5("bob", "bob-phone") : connect_311("bob", "bob-phone");
    MQTTClient alice = five ? connect_5("alice", "alice-laptop") : connect_311("alice", "alice-laptop");
    hello(alice, bob);
    show_wait(1, "\"message\"", "hello", "\"client\":\"bob\"", NULL);
    MQTTClient both[] = {alice, bob};
    for (int at = 0; at < 2; at++) {
        check(five ? MQTTClient_disconnect5(both[at], 1000, MQTTREASONCODE_SUCCESS, NULL) : MQTTClient_disconnect(both[at], 1000), "disconnect");
        MQTTClient_destroy(&both[at]);
    }
}

static int arrived(void *context, char *topic, int length, MQTTClient_message *packet)
{
    return received((void *)((Client *)context)->name, topic, length, packet);
}

static void lost(void *context, char *cause)
{
    (void)cause;
    show("lost", ((Client *)context)->name, "");
}

static void told(void *context, MQTTProperties *properties, enum MQTTReasonCodes reason)
{
    (void)properties;
    show_number("lost", ((Client *)context)->name, "reason", (int)reason);
}

static void published(void *context, int token, int type, MQTTProperties *properties, enum MQTTReasonCodes reason)
{
    (void)token;
    (void)type;
    (void)properties;
    show_number(reason < 128 ? "acked" : "refused", ((Client *)context)->name, "reason", (int)reason);
}

/* A client that is connected; the library does not connect again by itself. */
static Client *open_client(const char *name, const char *user, const char *id, int kept, int will)
{
    Client *client = calloc(1, sizeof *client);
    MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
    MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
    MQTTClient_connectOptions options5 = MQTTClient_connectOptions_initializer5;
    MQTTClient_willOptions last = MQTTClient_willOptions_initializer;
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, .value.integer4 = kept ? 3600 : 0};
    if (client == NULL)
        abort();
    client->name = name;
    if (five)
        options = options5;
    create.MQTTVersion = five ? MQTTVERSION_5 : MQTTVERSION_3_1_1;
    options.MQTTVersion = create.MQTTVersion;
    options.username = user;
    if (five)
        options.cleanstart = !kept;
    else
        options.cleansession = !kept;
    last.topicName = "im/to/u/bob-will";
    last.message = "alice is gone";
    last.qos = 1;
    if (will)
        options.will = &last;
    check(MQTTClient_createWithOptions(&client->mqtt, url, id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create), "create");
    check(MQTTClient_setCallbacks(client->mqtt, client, lost, arrived, NULL), "callbacks");
    if (five) {
        check(MQTTClient_setDisconnected(client->mqtt, client, told), "disconnected");
        check(MQTTClient_setPublished(client->mqtt, client, published), "published");
        check(MQTTProperties_add(&properties, &expiry), "properties");
        MQTTResponse connack = MQTTClient_connect5(client->mqtt, &options, &properties, NULL);
        check(connack.reasonCode, "connect");
        MQTTResponse_free(connack);
        MQTTProperties_free(&properties);
        show("connected", name, ""); /* whether there was a session is told for 3.1.1 alone */
    } else {
        check(MQTTClient_connect(client->mqtt, &options), "connect");
        show("connected", name, options.returned.sessionPresent ? ",\"session\":true" : ",\"session\":false");
    }
    return client;
}

static Client *open_fresh(const char *name, const char *user)
{
    char id[128];
    snprintf(id, sizeof id, "%s-%s", name, user);
    return open_client(name, user, id, 0, 0);
}

static void publish_bytes(Client *client, const char *topic, const char *payload, int length, int retained)
{
    MQTTClient_deliveryToken token;
    if (five) {
        MQTTResponse sent = MQTTClient_publish5(client->mqtt, topic, length, payload, 1, retained, NULL, &token);
        int code = sent.reasonCode;
        MQTTResponse_free(sent);
        if (code != 0) {
            show_number("refused", client->name, "error", code);
            return;
        }
        code = MQTTClient_waitForCompletion(client->mqtt, token, timeout_ms);
        if (code != 0)
            show_number("refused", client->name, "error", code);
        return;
    }
    check(MQTTClient_publish(client->mqtt, topic, length, payload, 1, retained, &token), "publish");
    check(MQTTClient_waitForCompletion(client->mqtt, token, timeout_ms), "PUBACK");
    show("acked", client->name, "");
}

static void publish(Client *client, const char *topic, const char *text)
{
    publish_bytes(client, topic, text, (int)strlen(text), 0);
}

static void subscribe(Client *client, const char *filter)
{
    int code;
    char more[64];
    if (five) {
        MQTTResponse suback = MQTTClient_subscribe5(client->mqtt, filter, 1, NULL, NULL);
        code = suback.reasonCode;
        MQTTResponse_free(suback);
    } else {
        code = MQTTClient_subscribe(client->mqtt, filter, 1);
        if (code == 0)
            code = 1; /* granted as asked, or an error */
    }
    snprintf(more, sizeof more, ",\"reasons\":[%d]", code);
    show("subscribed", client->name, more);
}

static void close_client(Client *client)
{
    if (MQTTClient_isConnected(client->mqtt))
        check(five ? MQTTClient_disconnect5(client->mqtt, 1000, MQTTREASONCODE_SUCCESS, NULL) : MQTTClient_disconnect(client->mqtt, 1000), "disconnect");
    MQTTClient_destroy(&client->mqtt);
    free(client);
}

static void offline(void)
{
    Client *before = open_client("bob", "bob-offline", "phone", 1, 0);
    subscribe(before, "im/u/bob-offline/inbox");
    close_client(before);
    Client *alice = open_fresh("alice", "alice-offline");
    publish(alice, "im/to/u/bob-offline", "one");
    publish(alice, "im/to/u/bob-offline", "two");
    publish(alice, "im/to/u/bob-offline", "three");
    Client *bob = open_client("bob", "bob-offline", "phone", 1, 0);
    show_wait(3, "\"message\"", "\"client\":\"bob\"", NULL);
    close_client(alice);
    close_client(bob);
}

static void group(void)
{
    Client *bob = open_fresh("bob", "bob-group");
    subscribe(bob, "im/g/+");
    Client *alice = open_fresh("alice", "alice-group");
    publish(alice, "im/rpc/groups.create", "{\"rid\":\"1\",\"gid\":\"team\",\"members\":[\"bob-group\"]}");
    show_wait(1, "im/u/alice-group/rpc/1", NULL);
    publish(alice, "im/to/g/team", "hello team");
    show_wait(1, "\"client\":\"bob\"", "hello team", NULL);
    close_client(alice);
    close_client(bob);
}

static void refused(void)
{
    Client *bob = open_fresh("bob", "bob-refused");
    publish(bob, "im/rpc/blocks.add", "{\"rid\":\"1\",\"user\":\"alice-refused\"}");
    show_wait(1, "im/u/bob-refused/rpc/1", NULL);
    Client *alice = open_fresh("alice", "alice-refused");
    publish(alice, "im/to/u/bob-refused", "hello?");
    show_wait(1, "im/u/alice-refused/notice", NULL);
    subscribe(alice, "im/u/bob-refused/inbox");
    close_client(alice);
    close_client(bob);
}

static void retained(void)
{
    Client *alice = open_fresh("alice", "alice");
    publish_bytes(alice, "home/lamp", "on", 2, 1);
    Client *bob = open_fresh("bob", "bob");
    subscribe(bob, "home/#");
    show_wait(1, "\"client\":\"bob\"", "\"message\"", NULL);
    publish_bytes(alice, "home/lamp", "", 0, 1);
    Client *carol = open_fresh("carol", "carol");
    subscribe(carol, "home/#");
    publish(alice, "home/bell", "ring");
    show_wait(1, "\"client\":\"carol\"", "ring", NULL);
    close_client(alice);
    close_client(bob);
    close_client(carol);
}

static void shared(void)
{
    Client *one = open_fresh("one", "worker");
    Client *two = open_fresh("two", "worker");
    subscribe(one, "$share/crew/jobs/#");
    subscribe(two, "$share/crew/jobs/#");
    if (five) {
        Client *alice = open_fresh("alice", "alice");
        for (int n = 0; n < 10; n++) {
            char job[16];
            snprintf(job, sizeof job, "job %d", n);
            publish(alice, "jobs/new", job);
        }
        show_wait(10, "\"message\"", "job ", NULL);
        close_client(alice);
    }
    close_client(one);
    close_client(two);
}

static void large(void)
{
    enum { size = 1024 * 1024 };
    char *payload = malloc(size);
    if (payload == NULL)
        abort();
    memset(payload, 'x', size);
    Client *alice = open_client("alice", "alice-large", "laptop", 1, 0);
    publish_bytes(alice, "im/to/u/bob-large", payload, size, 0);
    free(payload);
    /* The library tells of the end from a thread of its own. */
    if (five)
        show_wait(1, "\"lost\"", "\"alice\"", NULL);
    else
        show_wait(1, "im/u/alice-large/notice", NULL);
    close_client(alice);
    Client *again = open_client("again", "alice-large", "laptop", 1, 0);
    publish(again, "im/to/u/bob-large", "small");
    close_client(again);
}

static void takeover(void)
{
    Client *one = open_client("one", "alice-takeover", "phone", 0, 0);
    Client *two = open_client("two", "alice-takeover", "phone", 0, 0);
    show_wait(1, "\"lost\"", "\"one\"", NULL);
    publish(two, "im/to/u/bob-takeover", "from two");
    close_client(one);
    close_client(two);
}

static void will(void)
{
    open_client("alice", "alice-will", "phone", 0, 1);
    show("end", "", "");
    kill(getpid(), SIGKILL);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {{"message", message}, {"offline", offline}, {"group", group}, {"refused", refused}, {"retained", retained},
             {"shared", shared},   {"large", large},     {"takeover", takeover}, {"will", will}};

int main(int count, char **args)
{
    if (count < 5)
        return 2;
    snprintf(url, sizeof url, "tcp://%s:%s", args[1], args[2]);
    five = strcmp(args[3], "5") == 0;
    for (int at = 4; at < count; at++) {
        for (size_t known = 0; known < sizeof cases / sizeof *cases; known++) {
            if (strcmp(cases[known].name, args[at]) != 0)
                continue;
            show_begin(args[at]);
            cases[known].run();
            show("end", "", "");
        }
    }
    return 0;
}
