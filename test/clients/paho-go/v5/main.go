// Eclipse Paho for Go, MQTT 5. Arguments: host, port, version of MQTT (5), cases. docs/clients.md shows the marked part.
package main

import (
	"context"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	. "sabethes/clients/show"
)

var (
	address = net.JoinHostPort(os.Args[1], os.Args[2])
	ctx     = context.Background()
)

func showMessage(name string, packet *paho.Publish) {
	Event("message", name, More{"topic": packet.Topic, "payload": string(packet.Payload), "retain": packet.Retain})
}

func showAnswer(name string, answer *paho.PublishResponse, err error) {
	switch {
	case answer == nil:
		Event("refused", name, More{"text": err.Error()})
	case err != nil:
		Event("refused", name, More{"reason": answer.ReasonCode, "text": answer.Properties.ReasonString})
	default:
		Event("acked", name, More{"reason": answer.ReasonCode, "seq": answer.Properties.User.Get("seq")})
	}
}

type options struct {
	id   string
	kept bool
	will bool
}

type client struct {
	*paho.Client
	closing atomic.Bool
}

// open returns a client that is connected, and does not connect again by itself.
func open(name, user string, more options) *client {
	conn, err := net.Dial("tcp", address)
	Check(err)
	opened := &client{}
	opened.Client = paho.NewClient(paho.ClientConfig{
		Conn: conn,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(got paho.PublishReceived) (bool, error) {
			showMessage(name, got.Packet)
			return true, nil
		}},
		OnServerDisconnect: func(packet *paho.Disconnect) { Event("lost", name, More{"reason": packet.ReasonCode}) },
		OnClientError: func(err error) {
			// It is told of its own end too.
			if !opened.closing.Load() {
				Event("lost", name, More{"text": err.Error()})
			}
		},
	})
	connect := &paho.Connect{ClientID: more.id, CleanStart: !more.kept, KeepAlive: 60, Username: user, UsernameFlag: true}
	if more.kept {
		connect.Properties = &paho.ConnectProperties{SessionExpiryInterval: paho.Uint32(3600)}
	}
	if more.will {
		connect.WillMessage = &paho.WillMessage{Topic: "im/to/u/bob-will", Payload: []byte("alice is gone"), QoS: 1}
	}
	connack, err := opened.Connect(ctx, connect)
	Check(err)
	Event("connected", name, More{"session": connack.SessionPresent})
	return opened
}

func publish(name string, client *client, topic, payload string, retain bool) {
	answer, err := client.Publish(ctx, &paho.Publish{Topic: topic, Payload: []byte(payload), QoS: 1, Retain: retain})
	showAnswer(name, answer, err)
}

func subscribe(name string, client *client, filter string) {
	suback, err := client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}})
	more := More{}
	if err != nil {
		more["text"] = err.Error()
	}
	if suback != nil {
		more["reasons"] = []int{int(suback.Reasons[0])}
	}
	Event("subscribed", name, more)
}

func closeAll(clients ...*client) {
	for _, client := range clients {
		client.closing.Store(true)
		Check(client.Disconnect(&paho.Disconnect{}))
	}
}

func message() {
	// <snippet>
	server, err := url.Parse("mqtt://" + address)
	if err != nil {
		panic(err)
	}
	bob, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls:            []*url.URL{server},
		ConnectUsername:       "bob",
		ConnectPassword:       []byte("secret"),
		KeepAlive:             60,
		SessionExpiryInterval: 30 * 24 * 3600, // what comes while bob is away waits for him
		OnConnectionUp: func(bob *autopaho.ConnectionManager, _ *paho.Connack) {
			// Here, so that it happens after each reconnect too.
			suback, err := bob.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "im/u/bob/#", QoS: 1}}})
			if err != nil {
				panic(err)
			}
			Event("subscribed", "bob", More{"reasons": []int{int(suback.Reasons[0])}})
		},
		ClientConfig: paho.ClientConfig{
			ClientID: "bob-phone",
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(got paho.PublishReceived) (bool, error) {
				showMessage("bob", got.Packet)
				return true, nil
			}},
		},
	})
	if err != nil {
		panic(err)
	}

	alice, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{server}, ConnectUsername: "alice", ConnectPassword: []byte("secret"), KeepAlive: 60,
	})
	if err != nil {
		panic(err)
	}
	if err := alice.AwaitConnection(ctx); err != nil {
		panic(err)
	}
	// Your own id for the message makes sending it again harmless, whatever happens to the connection.
	// Returns when it is stored. The reason of a refusal is in the answer, which comes together with an error then.
	answer, err := alice.Publish(ctx, &paho.Publish{Topic: "im/to/u/bob", QoS: 1, Payload: []byte(`{"cid":"c-1","body":"hello"}`)})
	showAnswer("alice", answer, err)
	// </snippet>
	Wait(1, `"message"`, "hello", `"client":"bob"`)
	Wait(1, `"subscribed"`)
	Check(alice.Disconnect(ctx))
	Check(bob.Disconnect(ctx))
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
	alice := open("alice", "alice", options{})
	for n := 0; n < 10; n++ {
		publish("alice", alice, "jobs/new", "job "+strconv.Itoa(n), false)
	}
	Wait(10, `"message"`, "job")
	closeAll(alice, one, two)
}

func large() {
	laptop := options{id: "laptop", kept: true}
	alice := open("alice", "alice-large", laptop)
	publish("alice", alice, "im/to/u/bob-large", strings.Repeat("x", 1024*1024), false)
	Wait(1, `"lost"`)
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
