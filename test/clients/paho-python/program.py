"""Eclipse Paho for Python. Arguments: host, port, version of MQTT, cases. docs/clients.md shows the marked part."""
import json
import os
import signal
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

host, port, version, *cases = sys.argv[1:]
port = int(port)
five = version == "5"
changed = threading.Condition()
now = ""
lines = []


def show(event, client, **more):
    line = json.dumps({"case": now, "event": event, "client": client, **more})
    with changed:
        print(line, flush=True)
        lines.append(line)
        changed.notify_all()


def wait(count, *parts):
    """Until so many lines of this case have all the parts."""
    with changed:
        if not changed.wait_for(lambda: sum(all(part in line for part in parts) for line in lines) >= count, 10):
            raise TimeoutError(f"{now}: {count} of {parts}")


def code(reason):
    return getattr(reason, "value", reason)


def expiry(seconds):
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = seconds
    return properties


class Client:
    """A client that is connected, and does not connect again by itself."""

    def __init__(self, name, user, client_id="", kept=False, will=None):
        self.name, self.ending = name, False
        options = {} if five else {"clean_session": not kept}
        self.mqtt = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id, protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311,
                                reconnect_on_failure=False, **options)
        self.mqtt.username_pw_set(user)
        if will is not None:
            self.mqtt.will_set(*will, qos=1)
        self.mqtt.on_connect = lambda _c, _u, flags, _r, _p: show("connected", name, session=bool(flags.session_present))
        self.mqtt.on_message = lambda _c, _u, packet: show("message", name, topic=packet.topic, payload=packet.payload.decode(), retain=bool(packet.retain))
        self.mqtt.on_publish = self.published
        self.mqtt.on_subscribe = lambda _c, _u, _m, reasons, _p: show("subscribed", name, reasons=[code(reason) for reason in reasons])
        self.mqtt.on_disconnect = self.disconnected
        count = self.lines("connected")
        self.mqtt.connect(host, port, **({"clean_start": not kept, "properties": expiry(3600 if kept else 0)} if five else {}))
        self.mqtt.loop_start()
        wait(count + 1, '"connected"', f'"client": "{name}"')

    def lines(self, *events):
        with changed:
            return sum(any(f'"event": "{event}"' in line for event in events) and f'"client": "{self.name}"' in line for line in lines)

    def published(self, _client, _userdata, _mid, reason, _properties):
        show("refused" if reason.is_failure else "acked", self.name, reason=code(reason), text=str(reason))

    def disconnected(self, _client, _userdata, flags, reason, _properties):
        if not self.ending:
            show("lost", self.name, reason=code(reason) if flags.is_disconnect_packet_from_server else None, text=str(reason))

    def publish(self, topic, payload, retain=False):
        before = self.lines("acked", "refused", "lost")
        self.mqtt.publish(topic, payload, qos=1, retain=retain)
        with changed:
            if not changed.wait_for(lambda: self.lines("acked", "refused", "lost") > before, 10):
                raise TimeoutError(f"{now}: no answer to {topic}")

    def subscribe(self, topic):
        before = self.lines("subscribed")
        self.mqtt.subscribe(topic, qos=1)
        wait(before + 1, '"subscribed"', f'"client": "{self.name}"')

    def close(self):
        self.ending = True
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


def message():
    # <snippet>
    def connected(client, userdata, flags, reason_code, properties):
        # Here, so that it happens after each reconnect too.
        client.subscribe("im/u/bob/#", qos=1)

    def received(client, userdata, packet):
        show("message", "bob", topic=packet.topic, payload=packet.payload.decode(), retain=packet.retain)

    def published(client, userdata, mid, reason_code, properties):
        show("refused" if reason_code.is_failure else "acked", "alice", reason=reason_code.value)

    if five:
        bob = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "bob-phone", protocol=mqtt.MQTTv5)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 30 * 24 * 3600
        options = {"clean_start": False, "properties": properties}
    else:
        bob = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "bob-phone", clean_session=False)
        options = {}
    bob.username_pw_set("bob", "secret")
    bob.on_connect = connected
    bob.on_message = received
    bob.on_subscribe = lambda client, userdata, mid, reason_codes, properties: show("subscribed", "bob", reasons=[code.value for code in reason_codes])
    bob.connect(host, port, **options)
    bob.loop_start()

    alice = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5 if five else mqtt.MQTTv311)
    alice.username_pw_set("alice", "secret")
    alice.on_publish = published
    alice.connect(host, port)
    alice.loop_start()
    # Your own id for the message makes sending it again harmless, whatever happens to the connection.
    alice.publish("im/to/u/bob", json.dumps({"cid": "c-1", "body": "hello"}), qos=1)
    # </snippet>
    wait(1, "message", "hello", '"client": "bob"')
    wait(1, '"acked"')
    for client in (alice, bob):
        client.disconnect()
        client.loop_stop()


def offline():
    before = Client("bob", "bob-offline", "phone", kept=True)
    before.subscribe("im/u/bob-offline/inbox")
    before.close()
    alice = Client("alice", "alice-offline")
    for text in ("one", "two", "three"):
        alice.publish("im/to/u/bob-offline", text)
    bob = Client("bob", "bob-offline", "phone", kept=True)
    wait(3, '"message"', '"client": "bob"')
    alice.close()
    bob.close()


def group():
    bob = Client("bob", "bob-group")
    bob.subscribe("im/g/+")
    alice = Client("alice", "alice-group")
    alice.publish("im/rpc/groups.create", json.dumps({"rid": "1", "gid": "team", "members": ["bob-group"]}))
    wait(1, "im/u/alice-group/rpc/1")
    alice.publish("im/to/g/team", "hello team")
    wait(1, '"client": "bob"', "hello team")
    alice.close()
    bob.close()


def refused():
    bob = Client("bob", "bob-refused")
    bob.publish("im/rpc/blocks.add", '{"rid":"1","user":"alice-refused"}')
    wait(1, "im/u/bob-refused/rpc/1")
    alice = Client("alice", "alice-refused")
    alice.publish("im/to/u/bob-refused", "hello?")
    wait(1, "im/u/alice-refused/notice")
    alice.subscribe("im/u/bob-refused/inbox")
    alice.close()
    bob.close()


def retained():
    alice = Client("alice", "alice")
    alice.publish("home/lamp", "on", retain=True)
    bob = Client("bob", "bob")
    bob.subscribe("home/#")
    wait(1, '"client": "bob"', '"message"')
    alice.publish("home/lamp", "", retain=True)
    carol = Client("carol", "carol")
    carol.subscribe("home/#")
    alice.publish("home/bell", "ring")
    wait(1, '"client": "carol"', "ring")
    for client in (alice, bob, carol):
        client.close()


def shared():
    workers = [Client("one", "worker"), Client("two", "worker")]
    for worker in workers:
        worker.subscribe("$share/crew/jobs/#")
    if five:
        alice = Client("alice", "alice")
        for number in range(10):
            alice.publish("jobs/new", f"job {number}")
        wait(10, '"message"', "job")
        alice.close()
    for worker in workers:
        worker.close()


def large():
    alice = Client("alice", "alice-large", "laptop", kept=True)
    alice.publish("im/to/u/bob-large", "x" * 1024 * 1024)
    if not five:
        wait(1, "im/u/alice-large/notice")
    alice.close()
    again = Client("again", "alice-large", "laptop", kept=True)
    again.publish("im/to/u/bob-large", "small")
    again.close()


def takeover():
    one = Client("one", "alice-takeover", "phone")
    two = Client("two", "alice-takeover", "phone")
    wait(1, '"lost"', '"one"')
    two.publish("im/to/u/bob-takeover", "from two")
    one.close()
    two.close()


def will():
    Client("alice", "alice-will", will=("im/to/u/bob-will", "alice is gone"))
    show("end", "")
    os.kill(os.getpid(), signal.SIGKILL)


for name in cases:
    now, lines = name, []
    globals()[name]()
    show("end", "")
