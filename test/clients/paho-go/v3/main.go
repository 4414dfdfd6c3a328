// Eclipse Paho for Go, MQTT 3.1.1. Arguments: host, port, version of MQTT (3), cases. docs/clients.md shows the marked part.
package main

import (
	"net"
	"os"
	"strings"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	. "sabethes/clients/show"
)

var address = "tcp://" + net.JoinHostPort(os.Args[1], os.Args[2])

func showMessage(name string) mqtt.MessageHandler {
	return func(_ mqtt.Client, packet mqtt.Message) {
		Event("message", name, More{"topic": packet.Topic(), "payload": string(packet.Payload()), "retain": packet.Retained()})
	}
}

func showAnswer(name string, err error) {
	if err != nil {
		Event("refused", name, More{"text": err.Error()})
	} else {
		Event("acked", name, nil)
	}
}

type options struct {
	id   string
	kept bool
	will bool
}

// open returns a client that is connected, and does not connect again by itself.
func open(name, user string, more options) mqtt.Client {
	set := mqtt.NewClientOptions().AddBroker(address).SetUsername(user).SetClientID(more.id).SetCleanSession(!more.kept).SetAutoReconnect(false)
	set.SetProtocolVersion(4)
	set.SetDefaultPublishHandler(showMessage(name))
	set.SetConnectionLostHandler(func(_ mqtt.Client, err error) { Event("lost", name, More{"text": err.Error()}) })
	if more.will {
		set.SetWill("im/to/u/bob-will", "alice is gone", 1, false)
	}
	client := mqtt.NewClient(set)
	token := client.Connect().(*mqtt.ConnectToken)
	token.Wait()
	Check(token.Error())
	Event("connected", name, More{"session": token.SessionPresent()})
	return client
}

func publish(name string, client mqtt.Client, topic, payload string, retain bool) {
	token := client.Publish(topic, 1, retain, payload)
	token.Wait()
	showAnswer(name, token.Error())
}

func subscribe(name string, client mqtt.Client, filter string) {
	token := client.Subscribe(filter, 1, nil).(*mqtt.SubscribeToken)
	token.Wait()
	more := More{"reasons": token.Result()}
	if token.Error() != nil {
		more["text"] = token.Error().Error()
	}
	Event("subscribed", name, more)
}

func closeAll(clients ...mqtt.Client) {
	for _, client := range clients {
		client.Disconnect(100)
	}
}

func message() {
	// <snippet>
	options := mqtt.NewClientOptions().AddBroker(address).SetUsername("bob").SetPassword("secret")
	options.SetClientID("bob-phone").SetCleanSession(false) // what comes while bob is away waits for him
	// What comes before the subscription is answered, and notices and answers, for which there is none.
	options.SetDefaultPublishHandler(showMessage("bob"))
	options.SetOnConnectHandler(func(client mqtt.Client) {
		// Here, so that it happens after each reconnect too.
		token := client.Subscribe("im/u/bob/#", 1, nil).(*mqtt.SubscribeToken)
		token.Wait()
		Event("subscribed", "bob", More{"reasons": token.Result()}) // by filter; 128 is a refusal
	})
	bob := mqtt.NewClient(options)
	if token := bob.Connect(); token.Wait() && token.Error() != nil {
		panic(token.Error())
	}

	alice := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(address).SetUsername("alice").SetPassword("secret"))
	if token := alice.Connect(); token.Wait() && token.Error() != nil {
		panic(token.Error())
	}
	// Your own id for the message makes sending it again harmless, whatever happens to the connection.
	token := alice.Publish("im/to/u/bob", 1, false, `{"cid":"c-1","body":"hello"}`)
	token.Wait() // until it is stored
	showAnswer("alice", token.Error())
	// </snippet>
	Wait(1, `"message"`, "hello", `"client":"bob"`)
	Wait(1, `"subscribed"`)
	closeAll(alice, bob)
}

func offline() {
	phone := options{id: "phone", kept: true}
	before := open("bob", "bob-offline", phone)
	subscribe("bob", before, "im/u/bob-offline/inbox")
	closeAll(before)
	alice := open("alice", "alice-offline", options{})
	for _, text := range []string{"one", "two", "three"} {
		publish("alice", alice, "im/to/u/bob-offline", text, false)
	}
	bob := open("bob", "bob-offline", phone)
	Wait(3, `"message"`, `"client":"bob"`)
	closeAll(alice, bob)
}

func group() {
	bob := open("bob", "bob-group", options{})
	subscribe("bob", bob, "im/g/+")
	alice := open("alice", "alice-group", options{})
	publish("alice", alice, "im/rpc/groups.create", `{"rid":"1","gid":"team","members":["bob-group"]}`, false)
	Wait(1, "im/u/alice-group/rpc/1")
	publish("alice", alice, "im/to/g/team", "hello team", false)
	Wait(1, `"client":"bob"`, "hello team")
	closeAll(alice, bob)
}

func refused() {
	bob := open("bob", "bob-refused", options{})
	publish("bob", bob, "im/rpc/blocks.add", `{"rid":"1","user":"alice-refused"}`, false)
	Wait(1, "im/u/bob-refused/rpc/1")
	alice := open("alice", "alice-refused", options{})
	publish("alice", alice, "im/to/u/bob-refused", "hello?", false)
	Wait(1, "im/u/alice-refused/notice")
	subscribe("alice", alice, "im/u/bob-refused/inbox")
	closeAll(alice, bob)
}

func retained() {
	alice := open("alice", "alice", options{})
	publish("alice", alice, "home/lamp", "on", true)
	bob := open("bob", "bob", options{})
	subscribe("bob", bob, "home/#")
	Wait(1, `"client":"bob"`, `"message"`)
	publish("alice", alice, "home/lamp", "", true)
	carol := open("carol", "carol", options{})
	subscribe("carol", carol, "home/#")
	publish("alice", alice, "home/bell", "ring", false)
	Wait(1, `"client":"carol"`, "ring")
	closeAll(alice, bob, carol)
}

func shared() {
	one, two := open("one", "worker", options{}), open("two", "worker", options{})
	subscribe("one", one, "$share/crew/jobs/#")
	subscribe("two", two, "$share/crew/jobs/#")
	closeAll(one, two)
}

func large() {
	laptop := options{id: "laptop", kept: true}
	alice := open("alice", "alice-large", laptop)
	publish("alice", alice, "im/to/u/bob-large", strings.Repeat("x", 1024*1024), false)
	Wait(1, "im/u/alice-large/notice")
	closeAll(alice)
	again := open("again", "alice-large", laptop)
	publish("again", again, "im/to/u/bob-large", "small", false)
	closeAll(again)
}

func takeover() {
	phone := options{id: "phone"}
	open("one", "alice-takeover", phone)
	two := open("two", "alice-takeover", phone)
	Wait(1, `"lost"`, `"one"`)
	publish("two", two, "im/to/u/bob-takeover", "from two", false)
	closeAll(two)
}

func will() {
	open("alice", "alice-will", options{will: true})
	Die()
}

func main() {
	Run(map[string]func(){"message": message, "offline": offline, "group": group, "refused": refused, "retained": retained,
		"shared": shared, "large": large, "takeover": takeover, "will": will})
}
