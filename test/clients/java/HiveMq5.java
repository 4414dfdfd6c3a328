import static java.nio.charset.StandardCharsets.UTF_8;

import com.hivemq.client.mqtt.MqttClient;
import com.hivemq.client.mqtt.MqttGlobalPublishFilter;
import com.hivemq.client.mqtt.datatypes.MqttQos;
import com.hivemq.client.mqtt.lifecycle.MqttDisconnectSource;
import com.hivemq.client.mqtt.mqtt5.Mqtt5AsyncClient;
import com.hivemq.client.mqtt.mqtt5.Mqtt5ClientBuilder;
import com.hivemq.client.mqtt.mqtt5.exceptions.Mqtt5DisconnectException;
import com.hivemq.client.mqtt.mqtt5.exceptions.Mqtt5PubAckException;
import com.hivemq.client.mqtt.mqtt5.exceptions.Mqtt5SubAckException;
import com.hivemq.client.mqtt.mqtt5.message.publish.Mqtt5Publish;
import com.hivemq.client.mqtt.mqtt5.message.publish.Mqtt5PublishResult;
import com.hivemq.client.mqtt.mqtt5.message.subscribe.suback.Mqtt5SubAckReasonCode;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/** The HiveMQ client, MQTT 5. */
final class HiveMq5 implements Library {
    private final String host;
    private final int port;

    HiveMq5(String host, int port) {
        this.host = host;
        this.port = port;
    }

    private static void showMessage(String name, Mqtt5Publish message) {
        Show.event("message", name, "topic", message.getTopic().toString(), "payload", new String(message.getPayloadAsBytes(), UTF_8), "retain", message.isRetain());
    }

    private static int[] codes(List<Mqtt5SubAckReasonCode> reasons) {
        return reasons.stream().mapToInt(Mqtt5SubAckReasonCode::getCode).toArray();
    }

    private static void showRefusal(String name, ExecutionException error) {
        if (error.getCause() instanceof Mqtt5PubAckException refusal) {
            var puback = refusal.getMqttMessage();
            Show.event("refused", name, "reason", puback.getReasonCode().getCode(), "text", puback.getReasonString().map(Object::toString).orElse(null));
        } else {
            Show.event("refused", name, "text", error.getCause().toString());
        }
    }

    @Override
    public void message() throws Exception {
        // <snippet>
        Mqtt5AsyncClient bob = MqttClient.builder().useMqttVersion5().serverHost(host).serverPort(port).identifier("bob-phone")
            .simpleAuth().username("bob").password("secret".getBytes(UTF_8)).applySimpleAuth()
            .automaticReconnectWithDefaultConfig()
            .buildAsync();
        // Before connecting: what waited comes at once, and notices and answers have no subscription.
        bob.publishes(MqttGlobalPublishFilter.ALL, message -> showMessage("bob", message));
        bob.connectWith().cleanStart(false).sessionExpiryInterval(30 * 24 * 3600).send().get(); // what comes while bob is away waits for him
        var subscribed = bob.subscribeWith().topicFilter("im/u/bob/#").qos(MqttQos.AT_LEAST_ONCE).send().get(); // throws when it is refused
        Show.event("subscribed", "bob", "reasons", codes(subscribed.getReasonCodes()));

        Mqtt5AsyncClient alice = MqttClient.builder().useMqttVersion5().serverHost(host).serverPort(port).identifier("alice-laptop")
            .simpleAuth().username("alice").password("secret".getBytes(UTF_8)).applySimpleAuth()
            .buildAsync();
        alice.connect().get();
        try {
            // Your own id for the message makes sending it again harmless, whatever happens to the connection.
            alice.publishWith().topic("im/to/u/bob").qos(MqttQos.AT_LEAST_ONCE).payload("{\"cid\":\"c-1\",\"body\":\"hello\"}".getBytes(UTF_8))
                .send().get(); // until it is stored
            Show.event("acked", "alice");
        } catch (ExecutionException error) {
            showRefusal("alice", error); // its cause is an Mqtt5PubAckException with reason code and reason string
        }
        // </snippet>
        Show.await(1, "\"message\"", "hello", "\"client\":\"bob\"");
        alice.disconnect().get();
        bob.disconnect().get();
    }

    @Override
    public Device open(String name, String user, String clientId, boolean kept, String will) throws Exception {
        Mqtt5ClientBuilder builder = MqttClient.builder().useMqttVersion5().serverHost(host).serverPort(port).identifier(clientId)
            .simpleAuth().username(user).applySimpleAuth()
            .addDisconnectedListener(context -> {
                if (context.getSource() == MqttDisconnectSource.USER) return;
                Object reason = context.getCause() instanceof Mqtt5DisconnectException told ? (Object) told.getMqttMessage().getReasonCode().getCode() : null;
                Show.event("lost", name, "reason", reason, "text", context.getCause().toString());
            });
        if (will != null) builder = builder.willPublish().topic("im/to/u/bob-will").qos(MqttQos.AT_LEAST_ONCE).payload(will.getBytes(UTF_8)).applyWillPublish();
        Mqtt5AsyncClient client = builder.buildAsync();
        client.publishes(MqttGlobalPublishFilter.ALL, message -> showMessage(name, message));
        var connack = client.connectWith().cleanStart(!kept).sessionExpiryInterval(kept ? 3600 : 0).send().get(10, TimeUnit.SECONDS);
        Show.event("connected", name, "session", connack.isSessionPresent());
        return new Device() {
            public void publish(String topic, byte[] payload, boolean retain) throws Exception {
                try {
                    Mqtt5PublishResult result = client.publishWith().topic(topic).qos(MqttQos.AT_LEAST_ONCE).payload(payload).retain(retain).send().get(10, TimeUnit.SECONDS);
                    Show.event("acked", name, "reason", ((Mqtt5PublishResult.Mqtt5Qos1Result) result).getPubAck().getReasonCode().getCode());
                } catch (ExecutionException error) {
                    showRefusal(name, error);
                }
            }

            public void subscribe(String filter) throws Exception {
                try {
                    var suback = client.subscribeWith().topicFilter(filter).qos(MqttQos.AT_LEAST_ONCE).send().get(10, TimeUnit.SECONDS);
                    Show.event("subscribed", name, "reasons", codes(suback.getReasonCodes()));
                } catch (ExecutionException error) {
                    if (!(error.getCause() instanceof Mqtt5SubAckException refusal)) throw error;
                    Show.event("subscribed", name, "reasons", codes(refusal.getMqttMessage().getReasonCodes()), "text", refusal.getMessage());
                }
            }

            public void close() throws Exception {
                if (client.getState().isConnected()) client.disconnect().get(10, TimeUnit.SECONDS);
            }
        };
    }
}
