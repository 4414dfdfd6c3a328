import static java.nio.charset.StandardCharsets.UTF_8;

import org.eclipse.paho.client.mqttv3.IMqttDeliveryToken;
import org.eclipse.paho.client.mqttv3.MqttCallback;
import org.eclipse.paho.client.mqttv3.MqttClient;
import org.eclipse.paho.client.mqttv3.MqttConnectOptions;
import org.eclipse.paho.client.mqttv3.MqttException;
import org.eclipse.paho.client.mqttv3.MqttMessage;
import org.eclipse.paho.client.mqttv3.persist.MemoryPersistence;

/** Eclipse Paho for Java, MQTT 3.1.1. */
final class Paho3 implements Library {
    private final String url;

    Paho3(String host, int port) {
        url = "tcp://" + host + ":" + port;
    }

    private static void showMessage(String name, String topic, MqttMessage message) {
        Show.event("message", name, "topic", topic, "payload", new String(message.getPayload(), UTF_8), "retain", message.isRetained());
    }

    @Override
    public void message() throws Exception {
        // <snippet>
        MqttClient bob = new MqttClient(url, "bob-phone", new MemoryPersistence());
        MqttConnectOptions options = new MqttConnectOptions();
        options.setUserName("bob");
        options.setPassword("secret".toCharArray());
        options.setCleanSession(false); // what comes while bob is away waits for him
        options.setAutomaticReconnect(true);
        bob.setCallback(new MqttCallback() {
            public void messageArrived(String topic, MqttMessage message) {
                showMessage("bob", topic, message);
            }

            public void connectionLost(Throwable cause) {
                Show.event("lost", "bob", "text", cause.getMessage());
            }

            public void deliveryComplete(IMqttDeliveryToken token) {}
        });
        bob.connect(options);
        bob.subscribe("im/u/bob/#", 1); // throws when it is refused; the session remembers it
        Show.event("subscribed", "bob");

        MqttClient alice = new MqttClient(url, "alice-laptop", new MemoryPersistence());
        MqttConnectOptions hers = new MqttConnectOptions();
        hers.setUserName("alice");
        hers.setPassword("secret".toCharArray());
        alice.connect(hers);
        // Your own id for the message makes sending it again harmless, whatever happens to the connection.
        alice.publish("im/to/u/bob", "{\"cid\":\"c-1\",\"body\":\"hello\"}".getBytes(UTF_8), 1, false); // returns when it is stored
        Show.event("acked", "alice");
        // </snippet>
        Show.await(1, "\"message\"", "hello", "\"client\":\"bob\"");
        alice.disconnect();
        bob.disconnect();
        alice.close();
        bob.close();
    }

    @Override
    public Device open(String name, String user, String clientId, boolean kept, String will) throws Exception {
        MqttClient client = new MqttClient(url, clientId, new MemoryPersistence());
        client.setTimeToWait(10_000);
        client.setCallback(new MqttCallback() {
            public void messageArrived(String topic, MqttMessage message) {
                showMessage(name, topic, message);
            }

            public void connectionLost(Throwable cause) {
                Show.event("lost", name, "text", cause.toString());
            }

            public void deliveryComplete(IMqttDeliveryToken token) {}
        });
        MqttConnectOptions options = new MqttConnectOptions();
        options.setMqttVersion(MqttConnectOptions.MQTT_VERSION_3_1_1);
        options.setUserName(user);
        options.setCleanSession(!kept);
        if (will != null) options.setWill("im/to/u/bob-will", will.getBytes(UTF_8), 1, false);
        Show.event("connected", name, "session", client.connectWithResult(options).getSessionPresent());
        return new Device() {
            public void publish(String topic, byte[] payload, boolean retain) {
                try {
                    client.publish(topic, payload, 1, retain);
                    Show.event("acked", name);
                } catch (MqttException error) {
                    Show.event("refused", name, "text", error.toString());
                }
            }

            public void subscribe(String filter) {
                try {
                    client.subscribe(filter, 1);
                    Show.event("subscribed", name, "reasons", new int[] {1}); // or it throws
                } catch (MqttException error) {
                    Show.event("subscribed", name, "reasons", new int[] {error.getReasonCode()}, "text", error.toString());
                }
            }

            public void close() throws MqttException {
                if (client.isConnected()) client.disconnect();
                client.close();
            }
        };
    }
}
