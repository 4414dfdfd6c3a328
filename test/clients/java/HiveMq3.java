import static java.nio.charset.StandardCharsets.UTF_8;

import com.hivemq.client.mqtt.MqttClient;
import com.hivemq.client.mqtt.MqttGlobalPublishFilter;
import com.hivemq.client.mqtt.datatypes.MqttQos;
import com.hivemq.client.mqtt.lifecycle.MqttDisconnectSource;
import com.hivemq.client.mqtt.mqtt3.Mqtt3AsyncClient;
import com.hivemq.client.mqtt.mqtt3.Mqtt3ClientBuilder;
import com.hivemq.client.mqtt.mqtt3.exceptions.Mqtt3SubAckException;
import com.hivemq.client.mqtt.mqtt3.message.connect.Mqtt3ConnectBuilder;
import com.hivemq.client.mqtt.mqtt3.message.publish.Mqtt3Publish;
import com.hivemq.client.mqtt.mqtt3.message.subscribe.suback.Mqtt3SubAckReturnCode;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/** The HiveMQ client, MQTT 3.1.1. */
final class HiveMq3 implements Library {
    private final String host;
    private final int port;

    HiveMq3(String host, int port) {
        this.host = host;
        this.port = port;
    }

    private static void showMessage(String name, Mqtt3Publish message) {
        Show.event("message", name, "topic", message.getTopic().toString(), "payload", new String(message.getPayloadAsBytes(), UTF_8), "retain", message.isRetain());
    }

    private static int[] codes(List<Mqtt3SubAckReturnCode> returned) {
        return returned.stream().mapToInt(Mqtt3SubAckReturnCode::getCode).toArray();
    }

    @Override
    public void message() throws Exception {
        // <snippet>
        Mqtt3AsyncClient bob = MqttClient.builder().useMqttVersion3().serverHost(host).serverPort(port).identifier("bob-phone")
            .simpleAuth().username("bob").password("secret".getBytes(UTF_8)).applySimpleAuth()
            .automaticReconnectWithDefaultConfig()
            .buildAsync();
        // Before connecting: what waited comes at once, and notices and answers have no subscription.
        bob.publishes(MqttGlobalPublishFilter.ALL, message -> showMessage("bob", message));
        bob.connectWith().cleanSession(false).send().get(); // what comes while bob is away waits for him
        var subscribed = bob.subscribeWith().topicFilter("im/u/bob/#").qos(MqttQos.AT_LEAST_ONCE).send().get(); // throws when it is refused
        Show.event("subscribed", "bob", "reasons", codes(subscribed.getReturnCodes()));

        Mqtt3AsyncClient alice = MqttClient.builder().useMqttVersion3().serverHost(host).serverPort(port).identifier("alice-laptop")
            .simpleAuth().username("alice").password("secret".getBytes(UTF_8)).applySimpleAuth()
            .buildAsync();
        alice.connect().get();
        // Your own id for the message makes sending it again harmless, whatever happens to the connection.
        alice.publishWith().topic("im/to/u/bob").qos(MqttQos.AT_LEAST_ONCE).payload("{\"cid\":\"c-1\",\"body\":\"hello\"}".getBytes(UTF_8))
            .send().get(); // until it is stored
        Show.event("acked", "alice");
        // </snippet>
        Show.await(1, "\"message\"", "hello", "\"client\":\"bob\"");
        alice.disconnect().get();
        bob.disconnect().get();
    }

    @Override
    public Device open(String name, String user, String clientId, boolean kept, String will) throws Exception {
        Mqtt3ClientBuilder builder = MqttClient.builder().useMqttVersion3().serverHost(host).serverPort(port).identifier(clientId)
            .simpleAuth().username(user).applySimpleAuth()
            .addDisconnectedListener(context -> {
                if (context.getSource() != MqttDisconnectSource.USER) Show.event("lost", name, "text", context.getCause().toString());
            });
        if (will != null) builder = builder.willPublish().topic("im/to/u/bob-will").payload(will.getBytes(UTF_8)).qos(MqttQos.AT_LEAST_ONCE).applyWillPublish();
        Mqtt3AsyncClient client = builder.buildAsync();
        client.publishes(MqttGlobalPublishFilter.ALL, message -> showMessage(name, message));
        Show.event("connected", name, "session", client.connectWith().cleanSession(!kept).send().get(10, TimeUnit.SECONDS).isSessionPresent());
        return new Device() {
            public void publish(String topic, byte[] payload, boolean retain) throws Exception {
                try {
                    client.publishWith().topic(topic).payload(payload).qos(MqttQos.AT_LEAST_ONCE).retain(retain).send().get(10, TimeUnit.SECONDS);
                    Show.event("acked", name);
                } catch (ExecutionException error) {
                    Show.event("refused", name, "text", error.getCause().toString());
                }
            }

            public void subscribe(String filter) throws Exception {
                try {
                    var suback = client.subscribeWith().topicFilter(filter).qos(MqttQos.AT_LEAST_ONCE).send().get(10, TimeUnit.SECONDS);
                    Show.event("subscribed", name, "reasons", codes(suback.getReturnCodes()));
                } catch (ExecutionException error) {
                    if (!(error.getCause() instanceof Mqtt3SubAckException refusal)) throw error;
                    Show.event("subscribed", name, "reasons", codes(refusal.getMqttMessage().getReturnCodes()), "text", refusal.getMessage());
                }
            }

            public void close() throws Exception {
                if (client.getState().isConnected()) client.disconnect().get(10, TimeUnit.SECONDS);
            }
        };
    }
}
