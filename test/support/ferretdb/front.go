package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// FerretDB 1 reads a document, changes it and writes it back without a lock: of 200 concurrent `$inc` of one document
// two remain. MongoDB promises that a change of one document is atomic, and code may rely on it. So the clients talk to
// this front, which lets one writing command at a time through; reads are not held up.

const (
	headerBytes     = 16
	maxMessageBytes = 48_000_000
	opMsg           = 2013
)

var writing sync.Mutex

func serve(listener net.Listener, behind string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "ferretdb: "+err.Error())
			os.Exit(1)
		}
		go func() {
			if err := forward(client, behind); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				fmt.Fprintln(os.Stderr, "ferretdb: a connection: "+err.Error())
			}
		}()
	}
}

// forward passes requests and replies of one connection, one at a time: a driver does not pipeline.
func forward(client net.Conn, behind string) error {
	defer client.Close()
	server, err := net.Dial("tcp", behind)
	if err != nil {
		return err
	}
	defer server.Close()
	for {
		request, err := readMessage(client)
		if err != nil {
			return err
		}
		if err = exchange(client, server, request); err != nil {
			return err
		}
	}
}

func exchange(client, server net.Conn, request []byte) error {
	reply, err := ask(server, request)
	if err != nil || reply == nil {
		return err
	}
	_, err = client.Write(reply)
	return err
}

func ask(server net.Conn, request []byte) ([]byte, error) {
	if writes(request) {
		writing.Lock()
		defer writing.Unlock()
	}
	if _, err := server.Write(request); err != nil {
		return nil, err
	}
	// OP_MSG with moreToCome: nobody answers.
	if opcode(request) == opMsg && len(request) > headerBytes && request[headerBytes]&2 != 0 {
		return nil, nil
	}
	return readMessage(server)
}

func opcode(message []byte) uint32 { return binary.LittleEndian.Uint32(message[12:]) }

func readMessage(from io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n < headerBytes || n > maxMessageBytes {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	message := make([]byte, n)
	copy(message, length[:])
	_, err := io.ReadFull(from, message[4:])
	return message, err
}

// writes tells whether the command, the name of the body's first element, changes documents. Drivers send the body
// (section kind 0) first.
func writes(message []byte) bool {
	const body = headerBytes + 4 + 1
	if opcode(message) != opMsg || len(message) < body+5 || message[body-1] != 0 {
		return false
	}
	name, _, _ := bytes.Cut(message[body+5:], []byte{0})
	switch string(name) {
	case "insert", "update", "delete", "findAndModify", "findandmodify":
		return true
	}
	return false
}
