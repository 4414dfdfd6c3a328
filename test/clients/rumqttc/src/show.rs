//! Prints what a client saw, a JSON object a line, and waits for it.
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

struct Seen {
    now: String,
    lines: Vec<String>,
}

static SEEN: Mutex<Seen> = Mutex::new(Seen { now: String::new(), lines: Vec::new() });
static CHANGED: Condvar = Condvar::new();

pub fn begin(name: &str) {
    let mut seen = SEEN.lock().unwrap();
    seen.now = name.to_string();
    seen.lines.clear();
}

/// `more` is an object of what the event has beside its name and its client.
pub fn event(event: &str, client: &str, more: Value) {
    let mut seen = SEEN.lock().unwrap();
    let mut line = json!({ "case": seen.now, "event": event, "client": client });
    for (name, value) in more.as_object().into_iter().flatten() {
        line[name] = value.clone();
    }
    let line = line.to_string();
    println!("{line}");
    seen.lines.push(line);
    CHANGED.notify_all();
}

/// Lines of this case that have one of the events of the client.
pub fn count(client: &str, events: &[&str]) -> usize {
    of(&SEEN.lock().unwrap(), client, events)
}

fn of(seen: &Seen, client: &str, events: &[&str]) -> usize {
    let client = format!("\"client\":\"{client}\"");
    let has = |line: &&String| line.contains(&client) && events.iter().any(|event| line.contains(&format!("\"event\":\"{event}\"")));
    seen.lines.iter().filter(has).count()
}

/// Until there are so many.
pub fn wait_count(wanted: usize, client: &str, events: &[&str]) {
    wait_until(&format!("{wanted} {events:?} of {client}"), |seen| of(seen, client, events) >= wanted);
}

/// Until so many lines of this case have all the parts.
pub fn wait(wanted: usize, parts: &[&str]) {
    wait_until(&format!("{wanted} {parts:?}"), |seen| {
        seen.lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count() >= wanted
    });
}

fn wait_until(what: &str, done: impl Fn(&Seen) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut seen = SEEN.lock().unwrap();
    while !done(&seen) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            panic!("{}: {what}", seen.now);
        }
        seen = CHANGED.wait_timeout(seen, left).unwrap().0;
    }
}
