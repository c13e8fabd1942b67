// The echo servers of the laboratory: each is one file, and shows one I/O model. What is the same
// in all of them, and no part of the model, stands here.
//
// Each Serve...() sends back all that its clients send, each in its order, and closes a client at
// its end. It returns once the listener has been shut down (by Ctrl-C, or by the laboratory);
// clients that are left then end with the process.
//
// OWNER     The listener is the caller's: a listening TCP socket that blocks. A server that wants
//           it otherwise says SetNonBlocking().
// THREADS   One server in a process. SIGPIPE is ignored.
// ERRORS    What a server cannot go on without ends the process: Die(). A client that the model has
//           no place for is refused, with the reason, and the others are served.

#pragma once

#include <cstddef>
#include <string_view>

namespace models {

void ServeBlocking(int listener);        // a thread for each connection
void ServePolling(int listener);         // non-blocking, asking one after the other, with a sleep
void ServeSelect(int listener);          // multiplexed: select(2)
void ServePoll(int listener);            // poll(2)
void ServeEpollLevel(int listener);      // epoll(7), level-triggered
void ServeThreadPerReady(int listener);  // epoll(7), and a thread for each descriptor that is ready
void ServeEpollEdge(int listener);       // epoll(7), edge-triggered
void ServeUring(int listener);           // asynchronous: io_uring(7)
void ServeWeir(int listener);

// Bytes that one read may bring.
constexpr std::size_t kReadSize = 16 << 10;

// Exit code of a server whose model the system does not have, or does not allow.
constexpr int kNotToBeHad = 3;

// Ends the process: "weir-models: CALL: REASON" with the reason of errno.
[[noreturn]] void Die(std::string_view call, int exit_code = 1);

constexpr int kNobody = -1;  // no client waits (a listener that does not block)
constexpr int kEnded = -2;   // the listener was shut down

// The next client's descriptor, or one of the two above. `flags` are of accept4(2):
// SOCK_NONBLOCK or 0. Goes on to the next client when one was gone before he was accepted, or had
// to be refused because there are no more descriptors.
[[nodiscard]] int AcceptClient(int listener, int flags);

constexpr int kRefused = -3;

// What AcceptClient() does when it was told EMFILE or ENFILE: gives up a descriptor that is kept
// for this, and takes one client: to serve him if there is room after all, or to refuse him. For
// who is told so in another way.
[[nodiscard]] int AcceptBySpare(int listener, int flags);

void SetNonBlocking(int fd);

// Resets the client's connection, and says why on stderr.
void Refuse(int client, std::string_view why);

}  // namespace models
