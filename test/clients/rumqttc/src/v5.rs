//! MQTT 5.
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::{LastWill, Packet, PubAck, PubAckReason, Publish, SubscribeReasonCode};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{Client, ConnectionError, Event, MqttOptions, StateError};
use serde_json::json;

use crate::{show, Wish};

fn show_message(name: &str, packet: &Publish) {
    show::event("message", name, json!({ "topic": String::from_utf8_lossy(&packet.topic), "payload": String::from_utf8_lossy(&packet.payload), "retain": packet.retain }));
}

fn show_answer(name: &str, puback: &PubAck) {
    let reason = match puback.reason {
        PubAckReason::Success => 0,
        PubAckReason::NoMatchingSubscribers => 16,
        PubAckReason::UnspecifiedError => 128,
        PubAckReason::ImplementationSpecificError => 131,
        PubAckReason::NotAuthorized => 135,
        PubAckReason::TopicNameInvalid => 144,
        PubAckReason::PacketIdentifierInUse => 145,
        PubAckReason::QuotaExceeded => 151,
        PubAckReason::PayloadFormatInvalid => 153,
    };
    let text = puback.properties.as_ref().and_then(|properties| properties.reason_string.clone());
    show::event(if reason < 128 { "acked" } else { "refused" }, name, json!({ "reason": reason, "text": text }));
}

fn codes(answers: &[SubscribeReasonCode]) -> Vec<u8> {
    answers.iter().map(|answer| match answer {
        SubscribeReasonCode::Success(qos) => *qos as u8,
        SubscribeReasonCode::NotAuthorized => 135,
        _ => 128,
    }).collect()
}

pub fn message(host: &str, port: u16) {
    // <snippet>
    let mut options = MqttOptions::new("bob-phone", host, port);
    options.set_credentials("bob", "secret");
    options.set_clean_start(false);
    options.set_session_expiry_interval(Some(30 * 24 * 3600)); // what comes while bob is away waits for him
    options.set_max_packet_size(Some(1024 * 1024)); // without this 10 kB, and a larger message ends the connection
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
        // The PUBACK: the message is stored, or refused with a reason.
        if let Ok(Event::Incoming(Packet::PubAck(puback))) = event {
            show_answer("alice", &puback);
            break;
        }
    }
    // </snippet>
    show::wait(1, &["\"message\"", "hello", "\"client\":\"bob\""]);
    show::wait_count(1, "bob", &["subscribed"]);
    bob.disconnect().unwrap();
}

fn reason(error: &ConnectionError) -> Option<u8> {
    match error {
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => Some(*reason_code as u8),
        _ => None,
    }
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
    options.set_clean_start(!wish.kept);
    options.set_session_expiry_interval(Some(if wish.kept { 3600 } else { 0 }));
    options.set_max_packet_size(Some(2 * 1024 * 1024));
    if wish.will {
        options.set_last_will(LastWill::new("im/to/u/bob-will", "alice is gone", QoS::AtLeastOnce, false, None));
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
                Ok(Event::Incoming(Packet::PubAck(puback))) => show_answer(&mine, &puback),
                Ok(Event::Incoming(Packet::SubAck(suback))) => show::event("subscribed", &mine, json!({ "reasons": codes(&suback.return_codes) })),
                Ok(_) => (),
                Err(error) => {
                    let event = if closing.load(Ordering::SeqCst) { "closed" } else { "lost" };
                    show::event(event, &mine, json!({ "reason": reason(&error), "text": error.to_string() }));
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
