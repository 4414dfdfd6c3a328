/** Who is behind for a moment, who so far that senders wait, and who keeps pace. */

/** A stream that is no more entries behind is soon live again. */
export const nearly = 1024
/** Of a stream that is so many windows behind senders wait, until it is only half as many behind. */
export const pressingWindows = 2
/** The same for a client with a small window, entries. */
export const leastPressing = 128
/** So long a device is taken to keep pace that is not read, milliseconds: it may have acknowledged. */
export const unheardMs = 1000
