//! MQTT 3.1.1.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rumqttc::{Client, Event, LastWill, MqttOptions, Packet, Publish, QoS, SubscribeReasonCode};
use serde_json::json;

use crate::{show, Wish};

fn show_message(name: &str, packet: &Publish) {
    show::event("message", name, json!({ "topic": packet.topic, "payload": String::from_utf8_lossy(&packet.payload), "retain": packet.retain }));
}

fn codes(answers: &[SubscribeReasonCode]) -> Vec<u8> {
    answers.iter().map(|answer| match answer {
        SubscribeReasonCode::Success(qos) => *qos as u8,
        SubscribeReasonCode::Failure => 128,
    }).collect()
}

pub fn message(host: &str, port: u16) {
    // <snippet>
    let mut options = MqttOptions::new("bob-phone", host, port);
    options.set_credentials("bob", "secret");
    options.set_clean_session(false); // what comes while bob is away waits for him
    options.set_max_packet_size(1024 * 1024, 1024 * 1024); // without this 10 kB each way, and a larger message ends the connection
    let (bob, mut connection) = Client::new(options, 100);
    bob.subscribe("im/u/bob/#", QoS::AtLeastOnce).unwrap();
    thread::spawn(move || {
        // Going on after an error connects again.
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Packet::Publish(packet))) => show_message("bob", &packet),
                Ok(Event::Incoming(Packet::SubAck(suback))) => show::event("subscribed", "bob", json!({ "reasons": codes(&suback.return_codes) })),
                Ok(_) => (),
                Err(_) => thread::sleep(Duration::from_secs(1)),
            }
        }
    });

    let mut options = MqttOptions::new("alice-laptop", host, port);
    options.set_credentials("alice", "secret");
    let (alice, mut connection) = Client::new(options, 100);
    // Your own id for the message makes sending it again harmless, whatever happens to the connection.
    alice.publish("im/to/u/bob", QoS::AtLeastOnce, false, r#"{"cid":"c-1","body":"hello"}"#).unwrap();
    for event in connection.iter() {
        // The PUBACK: the message is stored.
        if let Ok(Event::Incoming(Packet::PubAck(_))) = event {
            show::event("acked", "alice", json!({}));
            break;
        }
    }
    // </snippet>
    show::wait(1, &["\"message\"", "hello", "\"client\":\"bob\""]);
    show::wait_count(1, "bob", &["subscribed"]);
    bob.disconnect().unwrap();
}

struct Device {
    name: String,
    client: Client,
    closing: Arc<AtomicBool>,
}

pub fn open(host: &str, port: u16, wish: Wish) -> Box<dyn crate::Device> {
    let name = wish.name.to_string();
    let mut options = MqttOptions::new(wish.client_id, host, port);
    options.set_credentials(wish.user, "");
    options.set_clean_session(!wish.kept);
    options.set_max_packet_size(2 * 1024 * 1024, 2 * 1024 * 1024);
    if wish.will {
        options.set_last_will(LastWill::new("im/to/u/bob-will", "alice is gone", QoS::AtLeastOnce, false));
    }
    let (client, mut connection) = Client::new(options, 100);
    let closing = Arc::new(AtomicBool::new(false));
    let device = Device { name: name.clone(), client, closing: closing.clone() };
    let before = show::count(&name, &["connected"]);
    let mine = name.clone();
    thread::spawn(move || {
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Packet::ConnAck(connack))) => show::event("connected", &mine, json!({ "session": connack.session_present })),
                Ok(Event::Incoming(Packet::Publish(packet))) => show_message(&mine, &packet),
                Ok(Event::Incoming(Packet::PubAck(_))) => show::event("acked", &mine, json!({})),
                Ok(Event::Incoming(Packet::SubAck(suback))) => show::event("subscribed", &mine, json!({ "reasons": codes(&suback.return_codes) })),
                Ok(_) => (),
                Err(error) => {
                    let event = if closing.load(Ordering::SeqCst) { "closed" } else { "lost" };
                    show::event(event, &mine, json!({ "text": error.to_string() }));
                    break;
                }
            }
        }
    });
    show::wait_count(before + 1, &name, &["connected"]);
    Box::new(device)
}

impl crate::Device for Device {
    fn publish(&self, topic: &str, payload: Vec<u8>, retain: bool) {
        let answers = ["acked", "refused", "lost"];
        let before = show::count(&self.name, &answers);
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload).unwrap();
        show::wait_count(before + 1, &self.name, &answers);
    }

    fn subscribe(&self, filter: &str) {
        let before = show::count(&self.name, &["subscribed"]);
        self.client.subscribe(filter, QoS::AtLeastOnce).unwrap();
        show::wait_count(before + 1, &self.name, &["subscribed"]);
    }

    fn close(&self) {
        if show::count(&self.name, &["lost"]) > 0 {
            return;
        }
        self.closing.store(true, Ordering::SeqCst);
        self.client.disconnect().unwrap();
        show::wait_count(1, &self.name, &["closed"]);
    }
}
