import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.Arrays;

/** The Java clients. Arguments: library (paho or hivemq), host, port, version of MQTT, cases. */
public final class Main {
    private static Library library;
    private static boolean five;

    public static void main(String[] args) throws Exception {
        String host = args[1];
        int port = Integer.parseInt(args[2]);
        five = args[3].equals("5");
        library = switch (args[0] + args[3]) {
            case "paho3" -> new Paho3(host, port);
            case "paho5" -> new Paho5(host, port);
            case "hivemq3" -> new HiveMq3(host, port);
            case "hivemq5" -> new HiveMq5(host, port);
            default -> throw new IllegalArgumentException(Arrays.toString(args));
        };
        for (String name : Arrays.copyOfRange(args, 4, args.length)) {
            Show.begin(name);
            run(name);
            Show.event("end", "");
        }
        System.exit(0);
    }

    private static void run(String name) throws Exception {
        switch (name) {
            case "message" -> library.message();
            case "offline" -> offline();
            case "group" -> group();
            case "refused" -> refused();
            case "retained" -> retained();
            case "shared" -> shared();
            case "large" -> large();
            case "takeover" -> takeover();
            case "will" -> will();
            default -> throw new IllegalArgumentException(name);
        }
    }

    private static Library.Device open(String name, String user) throws Exception {
        return library.open(name, user, name + "-" + user, false, null);
    }

    private static Library.Device phone(String name, String user) throws Exception {
        return library.open(name, user, "phone", true, null);
    }

    private static void publish(Library.Device device, String topic, String text) throws Exception {
        device.publish(topic, text.getBytes(UTF_8), false);
    }

    private static void close(Library.Device... devices) throws Exception {
        for (Library.Device device : devices) device.close();
    }

    private static void offline() throws Exception {
        Library.Device before = phone("bob", "bob-offline");
        before.subscribe("im/u/bob-offline/inbox");
        before.close();
        Library.Device alice = open("alice", "alice-offline");
        for (String text : new String[] {"one", "two", "three"}) publish(alice, "im/to/u/bob-offline", text);
        Library.Device bob = phone("bob", "bob-offline");
        Show.await(3, "\"message\"", "\"client\":\"bob\"");
        close(alice, bob);
    }

    private static void group() throws Exception {
        Library.Device bob = open("bob", "bob-group");
        bob.subscribe("im/g/+");
        Library.Device alice = open("alice", "alice-group");
        publish(alice, "im/rpc/groups.create", "{\"rid\":\"1\",\"gid\":\"team\",\"members\":[\"bob-group\"]}");
        Show.await(1, "im/u/alice-group/rpc/1");
        publish(alice, "im/to/g/team", "hello team");
        Show.await(1, "\"client\":\"bob\"", "hello team");
        close(alice, bob);
    }

    private static void refused() throws Exception {
        Library.Device bob = open("bob", "bob-refused");
        publish(bob, "im/rpc/blocks.add", "{\"rid\":\"1\",\"user\":\"alice-refused\"}");
        Show.await(1, "im/u/bob-refused/rpc/1");
        Library.Device alice = open("alice", "alice-refused");
        publish(alice, "im/to/u/bob-refused", "hello?");
        Show.await(1, "im/u/alice-refused/notice");
        alice.subscribe("im/u/bob-refused/inbox");
        close(alice, bob);
    }

    private static void retained() throws Exception {
        Library.Device alice = open("alice", "alice");
        alice.publish("home/lamp", "on".getBytes(UTF_8), true);
        Library.Device bob = open("bob", "bob");
        bob.subscribe("home/#");
        Show.await(1, "\"client\":\"bob\"", "\"message\"");
        alice.publish("home/lamp", new byte[0], true);
        Library.Device carol = open("carol", "carol");
        carol.subscribe("home/#");
        publish(alice, "home/bell", "ring");
        Show.await(1, "\"client\":\"carol\"", "ring");
        close(alice, bob, carol);
    }

    private static void shared() throws Exception {
        Library.Device one = open("one", "worker");
        Library.Device two = open("two", "worker");
        one.subscribe("$share/crew/jobs/#");
        two.subscribe("$share/crew/jobs/#");
        if (five) {
            Library.Device alice = open("alice", "alice");
            for (int n = 0; n < 10; n++) publish(alice, "jobs/new", "job " + n);
            Show.await(10, "\"message\"", "job");
            alice.close();
        }
        close(one, two);
    }

    private static void large() throws Exception {
        Library.Device alice = phone("alice", "alice-large");
        byte[] payload = new byte[1024 * 1024];
        Arrays.fill(payload, (byte) 'x');
        alice.publish("im/to/u/bob-large", payload, false);
        if (!five) Show.await(1, "im/u/alice-large/notice");
        alice.close();
        Library.Device again = phone("again", "alice-large");
        publish(again, "im/to/u/bob-large", "small");
        again.close();
    }

    private static void takeover() throws Exception {
        library.open("one", "alice-takeover", "phone", false, null);
        Library.Device two = library.open("two", "alice-takeover", "phone", false, null);
        Show.await(1, "\"lost\"", "\"one\"");
        publish(two, "im/to/u/bob-takeover", "from two");
        two.close();
    }

    private static void will() throws Exception {
        library.open("alice", "alice-will", "phone", false, "alice is gone");
        Show.event("end", "");
        ProcessHandle self = ProcessHandle.current();
        new ProcessBuilder("kill", "-9", String.valueOf(self.pid())).start().waitFor();
    }
}
