#!/usr/bin/env python3
"""A chat in the terminal, with paho-mqtt 2 (`pip install paho-mqtt`). What you type goes to one user or group; what comes from anybody is printed.

    python3 chat.py --user alice --to bob
    python3 chat.py --url mqtts://chat.example.com --user alice --password secret --group dev

Ctrl-D ends it, when all that was typed is stored. chat.mjs and chat-go are the same program. topics.md says what the topics mean.
"""
import argparse
import json
import os
import sys
import threading
import unicodedata
import uuid
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt

parser = argparse.ArgumentParser()
parser.add_argument("--url", type=urlsplit, default="mqtt://127.0.0.1:1883")
parser.add_argument("--user", required=True)
parser.add_argument("--password")
parser.add_argument("--client-id", default="chat", help="of this device: the server keeps what comes while it is away")
where = parser.add_mutually_exclusive_group(required=True)
where.add_argument("--to", metavar="USER")
where.add_argument("--group", metavar="ID")
options = parser.parse_args()

me = options.user
target = f"im/to/g/{options.group}" if options.group else f"im/to/u/{options.to}"
seen = {}  # conversation to the last number that was printed
pending = {}  # cid to text: typed, and neither stored nor refused as far as we know
online = False  # what was typed before has been sent again
changed = threading.Condition()  # guards these, and tells that less is pending; callbacks run in a thread of the library


def say(text):
    # What others write does not command this terminal.
    print("".join(" " if unicodedata.category(sign) == "Cc" else sign for sign in text), flush=True)


def publish(cid, text):
    # Acknowledged is: stored, or refused. The copy of our message, or a notice, says which.
    client.publish(target, json.dumps({"cid": cid, "type": "text", "body": text}), qos=1)


def settle(cid):
    """The text that was sent with this cid; None when it is of another device, or settled already."""
    with changed:
        text = pending.pop(cid, None)
        changed.notify()
        return text


def on_connect(client, userdata, flags, reason_code, properties):
    global online
    if reason_code.is_failure:
        say(f"* {reason_code}")
        if reason_code in ("Bad user name or password", "Not authorized"):
            os._exit(1)  # the main thread waits for its input
        return  # "try again later", and the library does
    say("* connected")
    client.subscribe([(f"im/u/{me}/#", 1), ("im/g/+", 1)])
    # The library may send some of them again, too. Their cid says that they are the same messages.
    with changed:
        for cid, text in pending.items():
            publish(cid, text)
        online = True


def on_subscribe(client, userdata, mid, reason_codes, properties):
    if any(code.is_failure for code in reason_codes):
        say("* a subscription was refused")


def on_disconnect(client, userdata, flags, reason_code, properties):
    global online
    with changed:
        online = False
    if reason_code.is_failure:
        say("* no connection, trying again")


def on_message(client, userdata, packet):
    if packet.topic.endswith("/event"):
        event(json.loads(packet.payload))
    elif packet.topic.endswith("/notice"):
        notice(json.loads(packet.payload))
    elif packet.topic.endswith("/inbox") or packet.topic.startswith("im/g/"):
        message(json.loads(packet.payload))


def message(envelope):
    conv, seq, sender, body = envelope["conv"], envelope["seq"], envelope.get("from"), envelope.get("body")
    # Numbers go up in each conversation: this one came before, and its acknowledgement was lost.
    if seq <= seen.get(conv, 0):
        return
    seen[conv] = seq
    if sender == me and settle(envelope.get("cid")) is not None:
        say(f"sent #{seq}")
        return
    kind, *ids = conv.split(":")
    other = ids[0] if kind == "g" else next((user for user in ids if user != me), me)
    text = body if isinstance(body, str) else json.dumps(body)
    if sender == me:
        say(f"#{seq} {me} to {other}: {text}")  # from another device
    else:
        say(f"#{seq} {other + '/' if kind == 'g' else ''}{sender}: {text}")
        client.publish(f"im/to/{'g' if kind == 'g' else 'u'}/{other}/read", str(seq), qos=1)


def event(its):
    if its["kind"] == "group":
        say(f"* group {its['gid']}: {its['action']} by {its.get('by')}")
    elif its["by"] != me:
        say(f"read up to #{its['seq']} by {its['by']}" if its["kind"] == "read" else f"delivered up to #{its['seq']} to {its['by']}")


def notice(its):
    text = settle(its.get("ref", {}).get("cid"))
    if text is not None:
        say(f"not sent ({its['code']}: {its['reason']}): {text}")


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, options.client_id, clean_session=False)
client.username_pw_set(me, options.password)
client.on_connect, client.on_subscribe, client.on_disconnect, client.on_message = on_connect, on_subscribe, on_disconnect, on_message
client.reconnect_delay_set(1, 30)
if options.url.scheme == "mqtts":
    client.tls_set()
client.connect_async(options.url.hostname, options.url.port or (8883 if options.url.scheme == "mqtts" else 1883))
client.loop_start()  # connects, and connects again when it has to

for line in sys.stdin:
    text = line.rstrip("\n")
    if text:
        with changed:
            cid = str(uuid.uuid4())
            pending[cid] = text
            if online:
                publish(cid, text)
with changed:
    done = changed.wait_for(lambda: not pending, timeout=10)
if not done:
    say(f"* not sent: {' | '.join(pending.values())}")
client.disconnect()
client.loop_stop()
sys.exit(0 if done else 1)
