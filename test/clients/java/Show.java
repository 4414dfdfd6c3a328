import java.util.ArrayList;
import java.util.List;

/** Prints what a client saw, a JSON object a line, and waits for it. */
final class Show {
    private static final List<String> lines = new ArrayList<>();
    private static String now = "";

    private Show() {}

    static synchronized void begin(String name) {
        now = name;
        lines.clear();
    }

    /** Names and values; a value is text, a number, true or false, a list of these, or null. */
    static synchronized void event(String event, String client, Object... more) {
        StringBuilder line = new StringBuilder("{\"case\":" + json(now) + ",\"event\":" + json(event) + ",\"client\":" + json(client));
        for (int at = 0; at < more.length; at += 2) line.append(",").append(json(more[at])).append(":").append(json(more[at + 1]));
        line.append("}");
        System.out.println(line);
        lines.add(line.toString());
        Show.class.notifyAll();
    }

    /** Until so many lines of this case have all the parts. */
    static synchronized void await(int count, String... parts) throws InterruptedException {
        long deadline = System.nanoTime() + 10_000_000_000L;
        while (lines.stream().filter(line -> List.of(parts).stream().allMatch(line::contains)).count() < count) {
            long leftMs = (deadline - System.nanoTime()) / 1_000_000;
            if (leftMs <= 0) throw new IllegalStateException(now + ": " + count + " of " + List.of(parts));
            Show.class.wait(leftMs);
        }
    }

    private static String json(Object value) {
        if (value instanceof int[] numbers) return java.util.Arrays.toString(numbers);
        if (!(value instanceof String text)) return String.valueOf(value);
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') out.append('\\').append(c);
            else if (c < ' ') out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        return out.append('"').toString();
    }
}
