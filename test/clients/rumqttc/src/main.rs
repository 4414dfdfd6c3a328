//! rumqttc. Arguments: host, port, version of MQTT, cases. docs/clients.md shows the marked parts.
mod show;
mod v3;
mod v5;

/// What the cases need of a client that is connected, and does not connect again by itself.
pub trait Device {
    /// Shows what became of it: `acked` or `refused`, or `lost`.
    fn publish(&self, topic: &str, payload: Vec<u8>, retain: bool);
    /// Shows `subscribed` with what the SUBACK said.
    fn subscribe(&self, filter: &str);
    fn close(&self);
}

pub struct Wish<'a> {
    pub name: &'a str,
    pub user: &'a str,
    pub client_id: &'a str,
    pub kept: bool,
    pub will: bool,
}

type Open = fn(&str, u16, Wish) -> Box<dyn Device>;

struct Cases {
    host: String,
    port: u16,
    five: bool,
    open: Open,
}

impl Cases {
    fn open(&self, name: &str, user: &str) -> Box<dyn Device> {
        (self.open)(&self.host, self.port, Wish { name, user, client_id: &format!("{name}-{user}"), kept: false, will: false })
    }

    fn phone(&self, name: &str, user: &str, kept: bool) -> Box<dyn Device> {
        (self.open)(&self.host, self.port, Wish { name, user, client_id: "phone", kept, will: false })
    }

    fn message(&self) {
        if self.five {
            v5::message(&self.host, self.port)
        } else {
            v3::message(&self.host, self.port)
        }
    }

    fn offline(&self) {
        let before = self.phone("before", "bob-offline", true);
        before.subscribe("im/u/bob-offline/inbox");
        before.close();
        let alice = self.open("alice", "alice-offline");
        for text in ["one", "two", "three"] {
            alice.publish("im/to/u/bob-offline", text.into(), false);
        }
        let bob = self.phone("bob", "bob-offline", true);
        show::wait_count(3, "bob", &["message"]);
        close(&[&alice, &bob]);
    }

    fn group(&self) {
        let bob = self.open("bob", "bob-group");
        bob.subscribe("im/g/+");
        let alice = self.open("alice", "alice-group");
        alice.publish("im/rpc/groups.create", r#"{"rid":"1","gid":"team","members":["bob-group"]}"#.into(), false);
        show::wait(1, &["im/u/alice-group/rpc/1"]);
        alice.publish("im/to/g/team", "hello team".into(), false);
        show::wait(1, &["\"client\":\"bob\"", "hello team"]);
        close(&[&alice, &bob]);
    }

    fn refused(&self) {
        let bob = self.open("bob", "bob-refused");
        bob.publish("im/rpc/blocks.add", r#"{"rid":"1","user":"alice-refused"}"#.into(), false);
        show::wait(1, &["im/u/bob-refused/rpc/1"]);
        let alice = self.open("alice", "alice-refused");
        alice.publish("im/to/u/bob-refused", "hello?".into(), false);
        show::wait(1, &["im/u/alice-refused/notice"]);
        alice.subscribe("im/u/bob-refused/inbox");
        close(&[&alice, &bob]);
    }

    fn retained(&self) {
        let alice = self.open("alice", "alice");
        alice.publish("home/lamp", "on".into(), true);
        let bob = self.open("bob", "bob");
        bob.subscribe("home/#");
        show::wait_count(1, "bob", &["message"]);
        alice.publish("home/lamp", Vec::new(), true);
        let carol = self.open("carol", "carol");
        carol.subscribe("home/#");
        alice.publish("home/bell", "ring".into(), false);
        show::wait(1, &["\"client\":\"carol\"", "ring"]);
        close(&[&alice, &bob, &carol]);
    }

    fn shared(&self) {
        let one = self.open("one", "worker");
        let two = self.open("two", "worker");
        one.subscribe("$share/crew/jobs/#");
        two.subscribe("$share/crew/jobs/#");
        if self.five {
            let alice = self.open("alice", "alice");
            for n in 0..10 {
                alice.publish("jobs/new", format!("job {n}").into(), false);
            }
            show::wait(10, &["\"message\"", "job "]);
            alice.close();
        }
        close(&[&one, &two]);
    }

    fn large(&self) {
        let alice = self.phone("alice", "alice-large", true);
        alice.publish("im/to/u/bob-large", vec![b'x'; 1024 * 1024], false);
        if !self.five {
            show::wait(1, &["im/u/alice-large/notice"]);
        }
        alice.close();
        let again = self.phone("again", "alice-large", true);
        again.publish("im/to/u/bob-large", "small".into(), false);
        again.close();
    }

    fn takeover(&self) {
        let _one = self.phone("one", "alice-takeover", false);
        let two = self.phone("two", "alice-takeover", false);
        show::wait_count(1, "one", &["lost"]);
        two.publish("im/to/u/bob-takeover", "from two".into(), false);
        two.close();
    }

    fn will(&self) {
        let _alice = (self.open)(&self.host, self.port, Wish { name: "alice", user: "alice-will", client_id: "phone", kept: false, will: true });
        show::event("end", "", serde_json::json!({}));
        std::process::exit(9); // without a DISCONNECT
    }
}

fn close(devices: &[&Box<dyn Device>]) {
    for device in devices {
        device.close();
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let five = args[3] == "5";
    let cases = Cases { host: args[1].clone(), port: args[2].parse().unwrap(), five, open: if five { v5::open } else { v3::open } };
    for name in &args[4..] {
        show::begin(name);
        match name.as_str() {
            "message" => cases.message(),
            "offline" => cases.offline(),
            "group" => cases.group(),
            "refused" => cases.refused(),
            "retained" => cases.retained(),
            "shared" => cases.shared(),
            "large" => cases.large(),
            "takeover" => cases.takeover(),
            "will" => cases.will(),
            other => panic!("no case {other}"),
        }
        show::event("end", "", serde_json::json!({}));
    }
}
