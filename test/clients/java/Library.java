/** What the cases need of a client library. Its clients do not connect again by themselves. */
interface Library {
    interface Device {
        /** Shows what became of it: `acked` or `refused`. */
        void publish(String topic, byte[] payload, boolean retain) throws Exception;

        /** Shows `subscribed` with the codes of the SUBACK. */
        void subscribe(String filter) throws Exception;

        void close() throws Exception;
    }

    /** The example of docs/clients.md, from its first line to the end of its connections. */
    void message() throws Exception;

    /** A connected client, whose messages and loss are shown; `will` is a text for bob-will, or null. */
    Device open(String name, String user, String clientId, boolean kept, String will) throws Exception;
}
