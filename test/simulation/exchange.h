// What one peer and the server have said to each other, as each of them knows it.
//
// Both streams have a content that depends on the peer and the position alone: so every byte that
// anybody receives is compared, whoever sent it and however it came.
//
// OWNER     The life.
// THREADS   One.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "simulation/kernel/socket.h"
#include "weir/clock.h"
#include "weir/connection.h"
#include "weir/connection_ref.h"
#include "weir/event_loop.h"
#include "weir/handler.h"

namespace weir::sim {

// The content of a stream.
[[nodiscard]] inline char ByteOf(std::uint32_t stream, std::uint64_t position) noexcept {
  return static_cast<char>(stream * 131 + position * 7 + (position >> 8) * 13);
}
[[nodiscard]] inline std::string BytesOf(std::uint32_t stream, std::uint64_t from,
                                         std::size_t count) {
  std::string bytes(count, '\0');
  for (std::size_t i = 0; i < count; ++i) bytes[i] = ByteOf(stream, from + i);
  return bytes;
}
[[nodiscard]] inline bool AreBytesOf(std::uint32_t stream, std::uint64_t from,
                                     std::string_view bytes) noexcept {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != ByteOf(stream, from + i)) return false;
  }
  return true;
}

struct Exchange {
  explicit Exchange(std::uint32_t number) noexcept : id(number) {}

  [[nodiscard]] std::uint32_t Upstream() const noexcept { return id * 2; }
  [[nodiscard]] std::uint32_t Downstream() const noexcept { return id * 2 + 1; }

  // The program has it visited once more in this turn, perhaps from another connection's callback:
  // with a budget of its own.
  void NoteVisit() { ++visits; }
  // It closes it, in whichever way that lets output go first.
  void NoteClose() {
    NoteVisit();
    if (!close_said) close_said_at = connection->Loop().Now();
    close_said = true;
  }

  const std::uint32_t id;

  // ---- The peer's side

  std::uint64_t peer_sent = 0;  // that its kernel took; urgent bytes are not in the stream
  std::uint64_t peer_received = 0;
  bool peer_ended = false;      // it has sent FIN
  bool peer_saw_end = false;    // all was received, and then an end
  bool peer_saw_reset = false;  // or a reset
  Clock::time_point peer_saw_reset_at;
  bool is_unix = false;

  // ---- The server's side

  Socket* socket = nullptr;  // on which OnOpen came
  Connection* connection = nullptr;
  ConnRef ref;
  int loop = 0;
  std::uint64_t consumed = 0;
  std::uint64_t seen = 0;     // how far OnData has looked
  std::uint64_t written = 0;  // that the library took
  std::size_t need = 0;       // NeedAtLeast
  std::size_t whole = 0;      // the largest piece that was written to an empty queue
  bool opened = false;
  bool ended = false;   // OnEnd
  bool closed = false;  // OnClose
  CloseReason reason = CloseReason::kLocal;
  bool had_error = false;  // OnClose was given one
  Clock::time_point closed_at;

  // What the program did.
  bool paused = false;
  bool fin_wanted = false;  // ShutdownWrite()
  bool close_said = false;  // Close(), or a throw, or kReject
  Clock::time_point close_said_at;
  bool abort_said = false;  // Abort()
  bool woken = false;       // ConnRef::Wake(): OnData may come with less than was needed
  Duration idle{};
  Clock::time_point moved;  // the turn in which bytes were last delivered
  Clock::time_point read_deadline;
  Clock::time_point write_deadline;

  // ---- The kernel's side

  bool was_broken = false;  // by the network

  // ---- The judge's

  // At a drain: how far into its stream the peer's bytes had arrived.
  std::optional<std::uint64_t> promised;
  // OnData is due for what is unread: since SetHandler(), or ResumeRead() outside of it.
  bool is_due = false;
  bool in_on_data = false;

  std::uint64_t received = 0;  // by the server's calls
  std::size_t in_turn = 0;     // of that, since the last wait
  std::size_t visits = 1;      // that it may have had in this turn, each with a budget
  std::size_t room = 0;        // the most that one receive of this turn may have brought
  std::uint32_t unserved = 0;  // waits in a row at which there was something to receive
};

}  // namespace weir::sim
