// Package loopback makes ports of the cluster's network namespace reachable on the host's
// 127.0.0.1, so that tests and people use an ordinary kubeconfig.
//
// A socket belongs to the network namespace it was made in, whoever holds it. So the program
// starts on the host, opens its listeners there, enters the cluster's namespace by executing
// itself again through nsenter (a Go program cannot move all of its threads), and dials from
// inside. One process carries every connection.
package loopback

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// The descriptors of the listeners, for the program that runs inside.
const inside = "PITWALL_LOOPBACK_DESCRIPTORS"

// Main reads `loopback NETNS LISTEN=TARGET...`, as in
// `loopback /run/netns/x 127.0.0.1:16443=10.66.0.1:6443`.
func Main() error {
	if len(os.Args) < 3 {
		return errors.New("usage: loopback NETNS-FILE LISTEN=TARGET...")
	}
	descriptors, entered := os.LookupEnv(inside)
	if !entered {
		return enter(os.Args[1], os.Args[2:])
	}
	failed := make(chan error)
	for i, number := range strings.Split(descriptors, ",") {
		pair := os.Args[2+i]
		_, target, _ := strings.Cut(pair, "=")
		descriptor, err := strconv.Atoi(number)
		if err != nil {
			return err
		}
		listener, err := net.FileListener(os.NewFile(uintptr(descriptor), pair))
		if err != nil {
			return fmt.Errorf("taking over the listener of %s: %w", pair, err)
		}
		go func() { failed <- serve(listener, target) }()
	}
	return <-failed
}

func enter(netns string, pairs []string) error {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return err
	}
	descriptors := make([]string, 0, len(pairs))
	for _, pair := range pairs {
		listen, _, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%q is not LISTEN=TARGET", pair)
		}
		listener, err := net.Listen("tcp", listen)
		if err != nil {
			return err
		}
		file, err := listener.(*net.TCPListener).File()
		if err != nil {
			return err
		}
		// A duplicate without close-on-exec, so that the listener lives through the exec below.
		kept, err := syscall.Dup(int(file.Fd()))
		if err != nil {
			return err
		}
		descriptors = append(descriptors, strconv.Itoa(kept))
	}
	// os.Args[0] and not os.Executable: the binary decides what it is by the name it is called by.
	argv := append([]string{"nsenter", "--net=" + netns, "--", os.Args[0], netns}, pairs...)
	return syscall.Exec(nsenter, argv, append(os.Environ(), inside+"="+strings.Join(descriptors, ",")))
}

func serve(listener net.Listener, target string) error {
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go carry(client.(*net.TCPConn), target)
	}
}

func carry(client *net.TCPConn, target string) {
	defer client.Close()
	dialled, err := net.Dial("tcp", target)
	if err != nil {
		fmt.Fprintf(os.Stderr, "loopback: %v\n", err)
		return
	}
	server := dialled.(*net.TCPConn)
	defer server.Close()
	done := make(chan struct{}, 2)
	half := func(to, from *net.TCPConn) {
		if _, err := io.Copy(to, from); err != nil {
			// One end broke: nothing more can arrive the other way either.
			client.Close()
			server.Close()
		}
		// The other direction may go on: pass the end of this one along, no more.
		_ = to.CloseWrite()
		done <- struct{}{}
	}
	go half(server, client)
	go half(client, server)
	<-done
	<-done
}
