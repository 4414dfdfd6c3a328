// A chat in the terminal, with Eclipse Paho for Go. What you type goes to one user or group; what comes from anybody is printed.
//
//	go run . --user alice --to bob
//	go run . --url mqtts://chat.example.com --user alice --password secret --group dev
//
// Ctrl-D ends it, when all that was typed is stored. chat.mjs and chat.py are the same program. topics.md says what the topics mean.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// typed is a line that is neither stored nor refused as far as we know.
type typed struct{ cid, text string }

type chat struct {
	me, target string
	client     mqtt.Client
	seen       map[string]int64 // conversation to the last number that was printed
	mutex      sync.Mutex
	pending    []typed
	online     bool          // what was typed before has been sent again
	settled    chan struct{} // pending got less
}

// envelope is what arrives in the inbox and in groups.
type envelope struct {
	Conv, Cid, From string
	Seq             int64
	Body            json.RawMessage
}

func say(format string, args ...any) {
	// What others write does not command this terminal.
	fmt.Println(strings.Map(func(sign rune) rune {
		if unicode.IsControl(sign) {
			return ' '
		}
		return sign
	}, fmt.Sprintf(format, args...)))
}

func (c *chat) publish(line typed) {
	payload, err := json.Marshal(map[string]string{"cid": line.cid, "type": "text", "body": line.text})
	if err != nil {
		panic(err)
	}
	// Acknowledged is: stored, or refused. The copy of our message, or a notice, says which.
	c.client.Publish(c.target, 1, false, payload)
}

func (c *chat) send(text string) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	line := typed{rand.Text(), text}
	c.pending = append(c.pending, line)
	if c.online {
		c.publish(line)
	}
}

// settle forgets a line; false when it is of another device, or settled already.
func (c *chat) settle(cid string) (string, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for at, line := range c.pending {
		if line.cid == cid {
			c.pending = append(c.pending[:at], c.pending[at+1:]...)
			select {
			case c.settled <- struct{}{}:
			default:
			}
			return line.text, true
		}
	}
	return "", false
}

func (c *chat) unsettled() []typed {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return append([]typed(nil), c.pending...)
}

func (c *chat) connected(mqtt.Client) {
	say("* connected")
	// Before anything is sent: a session gets no copy of what is stored before it subscribes, and would not know of it.
	token := c.client.SubscribeMultiple(map[string]byte{"im/u/" + c.me + "/#": 1, "im/g/+": 1}, nil).(*mqtt.SubscribeToken)
	if token.Wait(); !c.client.IsConnectionOpen() {
		return // it is gone again
	}
	for filter, code := range token.Result() {
		if code >= 128 {
			say("* the subscription to %s was refused", filter)
		}
	}
	c.again()
}

// again sends what was typed before. The library may send some of it again, too: by its cid it is the same message.
func (c *chat) again() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, line := range c.pending {
		c.publish(line)
	}
	c.online = true
}

func (c *chat) lost(mqtt.Client, error) {
	say("* no connection, trying again")
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.online = false
}

// received has all that comes, in its order. A message is acknowledged when it returns.
func (c *chat) received(_ mqtt.Client, packet mqtt.Message) {
	var err error
	switch topic := packet.Topic(); {
	case strings.HasSuffix(topic, "/event"):
		err = c.event(packet.Payload())
	case strings.HasSuffix(topic, "/notice"):
		err = c.notice(packet.Payload())
	case strings.HasSuffix(topic, "/inbox"), strings.HasPrefix(topic, "im/g/"):
		err = c.message(packet.Payload())
	}
	if err != nil {
		say("* %s: %v", packet.Topic(), err)
	}
}

func (c *chat) message(payload []byte) error {
	var its envelope
	if err := json.Unmarshal(payload, &its); err != nil {
		return err
	}
	// Numbers go up in each conversation: this one came before, and its acknowledgement was lost.
	if its.Seq <= c.seen[its.Conv] {
		return nil
	}
	c.seen[its.Conv] = its.Seq
	if its.From == c.me {
		if _, ok := c.settle(its.Cid); ok {
			say("sent #%d", its.Seq)
			return nil
		}
	}
	var text string
	if json.Unmarshal(its.Body, &text) != nil {
		text = string(its.Body)
	}
	ids := strings.Split(its.Conv, ":")
	kind, other, who := "u", ids[1], its.From
	if ids[0] == "g" {
		kind, who = "g", other+"/"+its.From
	} else if other == c.me {
		other = ids[2]
	}
	if its.From == c.me {
		say("#%d %s to %s: %s", its.Seq, c.me, other, text) // from another device
		return nil
	}
	say("#%d %s: %s", its.Seq, who, text)
	// Not here: it may wait for what is handed to this function.
	go c.client.Publish("im/to/"+kind+"/"+other+"/read", 1, false, strconv.FormatInt(its.Seq, 10))
	return nil
}

func (c *chat) event(payload []byte) error {
	var its struct {
		Kind, By, Gid, Action string
		Seq                   int64
	}
	if err := json.Unmarshal(payload, &its); err != nil {
		return err
	}
	switch {
	case its.Kind == "group":
		say("* group %s: %s by %s", its.Gid, its.Action, its.By)
	case its.By == c.me:
	case its.Kind == "read":
		say("read up to #%d by %s", its.Seq, its.By)
	default:
		say("delivered up to #%d to %s", its.Seq, its.By)
	}
	return nil
}

func (c *chat) notice(payload []byte) error {
	var its struct {
		Code, Reason string
		Ref          struct{ Cid string }
	}
	if err := json.Unmarshal(payload, &its); err != nil {
		return err
	}
	if text, ok := c.settle(its.Ref.Cid); ok {
		say("not sent (%s: %s): %s", its.Code, its.Reason, text)
	}
	return nil
}

// connect goes on until it is connected. From then on the library connects again.
func (c *chat) connect() {
	for delay := time.Second; ; delay = min(2*delay, 30*time.Second) {
		token := c.client.Connect()
		token.Wait()
		switch err := token.Error(); {
		case err == nil:
			return
		case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
			say("* %v", err)
			os.Exit(1)
		default:
			say("* no connection, trying again")
			time.Sleep(delay)
		}
	}
}

func main() {
	address := flag.String("url", "mqtt://127.0.0.1:1883", "of the server")
	user := flag.String("user", "", "who you are")
	password := flag.String("password", "", "")
	clientID := flag.String("client-id", "chat", "of this device: the server keeps what comes while it is away")
	to := flag.String("to", "", "the user to write to")
	group := flag.String("group", "", "the group to write to")
	flag.Parse()
	if *user == "" || (*to == "") == (*group == "") {
		flag.Usage()
		os.Exit(2)
	}
	c := &chat{me: *user, target: "im/to/u/" + *to, seen: map[string]int64{}, settled: make(chan struct{}, 1)}
	if *group != "" {
		c.target = "im/to/g/" + *group
	}
	options := mqtt.NewClientOptions().AddBroker(*address).SetUsername(*user).SetPassword(*password)
	options.SetClientID(*clientID).SetCleanSession(false).SetMaxReconnectInterval(30 * time.Second)
	options.SetDefaultPublishHandler(c.received).SetOnConnectHandler(c.connected)
	options.SetConnectionLostHandler(c.lost)
	c.client = mqtt.NewClient(options)
	go c.connect()

	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1024*1024) // a longer line ends it
	for lines.Scan() {
		if text := lines.Text(); text != "" {
			c.send(text)
		}
	}
	code := 0
	for limit := time.After(10 * time.Second); len(c.unsettled()) > 0 && code == 0; {
		select {
		case <-c.settled:
		case <-limit:
			say("* not sent: %v", c.unsettled())
			code = 1
		}
	}
	c.client.Disconnect(250)
	os.Exit(code)
}
