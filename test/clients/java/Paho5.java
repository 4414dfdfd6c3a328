import static java.nio.charset.StandardCharsets.UTF_8;

import org.eclipse.paho.mqttv5.client.IMqttToken;
import org.eclipse.paho.mqttv5.client.MqttAsyncClient;
import org.eclipse.paho.mqttv5.client.MqttCallback;
import org.eclipse.paho.mqttv5.client.MqttConnectionOptions;
import org.eclipse.paho.mqttv5.client.MqttDisconnectResponse;
import org.eclipse.paho.mqttv5.client.persist.MemoryPersistence;
import org.eclipse.paho.mqttv5.common.MqttException;
import org.eclipse.paho.mqttv5.common.MqttMessage;
import org.eclipse.paho.mqttv5.common.packet.MqttProperties;

/** Eclipse Paho for Java, MQTT 5. */
final class Paho5 implements Library {
    private final String url;

    Paho5(String host, int port) {
        url = "tcp://" + host + ":" + port;
    }

    private static void showMessage(String name, String topic, MqttMessage message) {
        Show.event("message", name, "topic", topic, "payload", new String(message.getPayload(), UTF_8), "retain", message.isRetained());
    }

    @Override
    public void message() throws Exception {
        // <snippet>
        MqttAsyncClient bob = new MqttAsyncClient(url, "bob-phone", new MemoryPersistence());
        MqttConnectionOptions options = new MqttConnectionOptions();
        options.setUserName("bob");
        options.setPassword("secret".getBytes(UTF_8));
        options.setCleanStart(false);
        options.setSessionExpiryInterval(30L * 24 * 3600); // what comes while bob is away waits for him
        options.setAutomaticReconnect(true);
        bob.setCallback(new MqttCallback() {
            public void messageArrived(String topic, MqttMessage message) {
                showMessage("bob", topic, message);
            }

            public void disconnected(MqttDisconnectResponse why) {
                Show.event("lost", "bob", "reason", why.getReturnCode());
            }

            public void connectComplete(boolean again, String server) {}

            public void mqttErrorOccurred(MqttException error) {}

            public void deliveryComplete(IMqttToken token) {}

            public void authPacketArrived(int reason, MqttProperties properties) {}
        });
        bob.connect(options).waitForCompletion();
        IMqttToken subscribed = bob.subscribe("im/u/bob/#", 1);
        subscribed.waitForCompletion();
        Show.event("subscribed", "bob", "reasons", subscribed.getReasonCodes());

        MqttAsyncClient alice = new MqttAsyncClient(url, "alice-laptop", new MemoryPersistence());
        MqttConnectionOptions hers = new MqttConnectionOptions();
        hers.setUserName("alice");
        hers.setPassword("secret".getBytes(UTF_8));
        alice.connect(hers).waitForCompletion();
        // Your own id for the message makes sending it again harmless, whatever happens to the connection.
        IMqttToken sent = alice.publish("im/to/u/bob", "{\"cid\":\"c-1\",\"body\":\"hello\"}".getBytes(UTF_8), 1, false);
        sent.waitForCompletion(); // stored, or refused: then the reason is 128 or more
        int reason = sent.getReasonCodes()[0];
        Show.event(reason < 128 ? "acked" : "refused", "alice", "reason", reason);
        // </snippet>
        Show.await(1, "\"message\"", "hello", "\"client\":\"bob\"");
        alice.disconnect().waitForCompletion();
        bob.disconnect().waitForCompletion();
        alice.close();
        bob.close();
    }

    @Override
    public Device open(String name, String user, String clientId, boolean kept, String will) throws Exception {
        MqttAsyncClient client = new MqttAsyncClient(url, clientId, new MemoryPersistence());
        client.setCallback(new MqttCallback() {
            private boolean lost;

            public void messageArrived(String topic, MqttMessage message) {
                showMessage(name, topic, message);
            }

            public void disconnected(MqttDisconnectResponse why) {
                if (!lost) Show.event("lost", name, "reason", why.getReturnCode(), "text", String.valueOf(why.getException()));
                lost = true;
            }

            public void connectComplete(boolean again, String server) {}

            public void mqttErrorOccurred(MqttException error) {
                Show.event("error", name, "text", error.toString());
            }

            public void deliveryComplete(IMqttToken token) {}

            public void authPacketArrived(int reason, MqttProperties properties) {}
        });
        MqttConnectionOptions options = new MqttConnectionOptions();
        options.setUserName(user);
        options.setCleanStart(!kept);
        options.setAutomaticReconnect(false);
        if (kept) options.setSessionExpiryInterval(3600L);
        if (will != null) options.setWill("im/to/u/bob-will", new MqttMessage(will.getBytes(UTF_8), 1, false, null));
        IMqttToken connected = client.connect(options);
        connected.waitForCompletion(10_000);
        Show.event("connected", name, "session", connected.getSessionPresent());
        return new Device() {
            public void publish(String topic, byte[] payload, boolean retain) {
                try {
                    IMqttToken token = client.publish(topic, payload, 1, retain);
                    token.waitForCompletion(10_000);
                    int reason = token.getReasonCodes()[0];
                    Show.event(reason < 128 ? "acked" : "refused", name, "reason", reason, "text", String.valueOf(token.getResponseProperties().getReasonString()));
                } catch (MqttException error) {
                    Show.event("refused", name, "text", error.toString());
                }
            }

            public void subscribe(String filter) {
                try {
                    IMqttToken token = client.subscribe(filter, 1);
                    token.waitForCompletion(10_000);
                    Show.event("subscribed", name, "reasons", token.getReasonCodes());
                } catch (MqttException error) {
                    Show.event("subscribed", name, "reasons", new int[] {error.getReasonCode()}, "text", error.toString());
                }
            }

            public void close() throws MqttException {
                if (client.isConnected()) client.disconnect().waitForCompletion(10_000);
                client.close();
            }
        };
    }
}
