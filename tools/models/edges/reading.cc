// The groups about reading. Who reads how is a function of two lines here: it is what they differ
// in. All that is read is compared with what was sent, so "seen" means: in its order, none lost.

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <stdexcept>

#include "models/edges/groups.h"
#include "models/edges/sockets.h"

namespace models::edges {
namespace {

constexpr std::size_t kSmall = 20;
constexpr std::size_t kLarge = 64 << 10;

constexpr std::uint32_t kLevel = EPOLLIN;
constexpr std::uint32_t kEdge = EPOLLIN | EPOLLET;

// A connection of which epoll tells, and what came of it.
class Reader final {
 public:
  explicit Reader(std::uint32_t events) : epoll_(pair_.server.Get(), events) {}

  Reader& Arrive(std::size_t count) {
    pair_.client.Send(count);
    pair_.AwaitSent();
    return *this;
  }

  void ArriveWithEnd(std::size_t count) {
    pair_.client.Send(count);
    pair_.client.SendEnd();
    pair_.AwaitSent();
    AwaitEnd(pair_.server.Get());
  }

  void ArriveWithUrgent(std::size_t before, std::size_t behind) {
    pair_.client.Send(before);
    pair_.client.SendUrgent();
    pair_.client.Send(behind);
    pair_.AwaitSent();
    told_ = Fionread(pair_.server.Get());
  }

  std::uint32_t Ask() { return epoll_.Ask(); }

  // One read with a buffer of `size` bytes; true if it filled the buffer.
  bool Read(std::size_t size) { return Receive(size) == static_cast<ssize_t>(size); }

  // The same; false at the end.
  bool ReadBeforeEnd(std::size_t size) { return Receive(size) != 0; }

  // Until there is nothing (EAGAIN), or the end.
  void Drain(std::size_t size) {
    while (Receive(size) > 0) continue;
  }

  // Until a read brings less than there is room for: the short-read rule.
  void ReadUntilShort(std::size_t size) {
    while (Read(size)) continue;
  }

  // The figures up to here. What is still in the socket is found by reading it: FIONREAD does not
  // count what lies behind an urgent byte.
  std::vector<Figure> Figures() {
    std::vector<Figure> figures = {
        {"returns", epoll_.returns()}, {"reads", reads_}, {"eagains", eagains_}, {"seen", seen_}};
    const std::int64_t seen = seen_;
    Drain(kLarge);
    figures.push_back({"unseen", seen_ - seen});
    if (static_cast<std::uint64_t>(seen_) != pair_.client.pattern()) {
      throw std::runtime_error("bytes are lost");
    }
    return figures;
  }

  std::vector<Figure> FiguresWithEnd() {
    const bool ended = ended_;
    std::vector<Figure> figures = Figures();
    figures.push_back({"end", ended, true});
    return figures;
  }

  std::vector<Figure> FiguresWithTold() {
    const std::int64_t told_after = Fionread(pair_.server.Get());
    std::vector<Figure> figures = Figures();
    figures.push_back({"told", told_});
    figures.push_back({"told_after", told_after});
    return figures;
  }

 private:
  // What recv(2) returns; negative is EAGAIN.
  ssize_t Receive(std::size_t size) {
    std::array<char, kLarge> buffer;  // not cleared: only what is received is looked at
    const ssize_t got = ::recv(pair_.server.Get(), buffer.data(), size, 0);
    if (got < 0) {
      if (errno != EAGAIN) Checked(got, "recv");
      ++eagains_;
    } else if (got == 0) {
      ended_ = true;
    } else {
      const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
      if (!IsPattern(bytes, static_cast<std::size_t>(seen_))) {
        throw std::runtime_error("bytes came in another order");
      }
      ++reads_;
      seen_ += got;
    }
    return got;
  }

  Pair pair_;
  Epoll epoll_;
  std::int64_t reads_ = 0;  // that brought bytes
  std::int64_t eagains_ = 0;
  std::int64_t seen_ = 0;
  std::int64_t told_ = 0;
  bool ended_ = false;
};

// The simplest reader there is: one read for each return.
void ReadOnceEach(Reader& reader, std::size_t size) {
  while (reader.Ask() != 0) reader.Read(size);
}

void DrainEach(Reader& reader, std::size_t size) {
  while (reader.Ask() != 0) reader.Drain(size);
}

void ReadUntilShortEach(Reader& reader, std::size_t size) {
  while (reader.Ask() != 0) reader.ReadUntilShort(size);
}

// As weir does: a short read proves nothing once one of `voids` was reported.
void ReadByProofEach(Reader& reader, std::uint32_t voids) {
  while (const std::uint32_t events = reader.Ask()) {
    (events & voids) != 0 ? reader.Drain(kLarge) : reader.ReadUntilShort(kLarge);
  }
}

std::vector<Figure> Play80(std::uint32_t events, std::size_t size,
                           void (*read)(Reader&, std::size_t)) {
  Reader reader(events);
  read(reader.Arrive(80), size);
  return reader.Figures();
}

}  // namespace

EdgeGroup EightyBytes() {
  return {
      "80 bytes arrive at once",
      {
          {"lt", "LT, one read of 20 for each return", "told again until all is read",
           Play80(kLevel, kSmall, ReadOnceEach)},
          {"et-no-drain", "ET, one read of 20 for each return",
           "60 bytes wait for an event that does not come", Play80(kEdge, kSmall, ReadOnceEach)},
          {"et-drain", "ET, reads of 20 until EAGAIN",
           "all is seen; the last read is there to find nothing", Play80(kEdge, kSmall, DrainEach)},
          {"et-short-30", "ET, reads of 30 until one is short",
           "30, 30, 20: the short one says that nothing is left",
           Play80(kEdge, 30, ReadUntilShortEach)},
          {"et-short-large", "ET, reads of 64 KiB until one is short",
           "a large buffer saves all reads but one", Play80(kEdge, kLarge, ReadUntilShortEach)},
          {"et-short-exact", "ET, reads of 80 until one is short",
           "a full read proves nothing, even if it took all: one more finds EAGAIN",
           Play80(kEdge, 80, ReadUntilShortEach)},
      }};
}

EdgeGroup MoreBytes() {
  Reader small(kEdge);
  ReadOnceEach(small.Arrive(80), kSmall);
  ReadOnceEach(small.Arrive(10), kSmall);

  Reader large(kEdge);
  ReadOnceEach(large.Arrive(80), kSmall);
  ReadOnceEach(large.Arrive(10), kLarge);

  Reader behind(kEdge);
  ReadOnceEach(behind.Arrive(80), kSmall);
  for (int i = 0; i < 5; ++i) ReadOnceEach(behind.Arrive(20), kSmall);

  return {"ET without drain, one read of 20: 60 of 80 bytes wait; then more bytes arrive",
          {
              {"more-small", "10 more, read 20",
               "a new edge, and the oldest bytes come first: of the new ones none is seen",
               small.Figures()},
              {"more-large", "10 more, read 64 KiB",
               "the old and the new come together, in order: nothing was lost, only late",
               large.Figures()},
              {"more-behind", "five times 20 more, each time read 20",
               "a request is read when the third one after it arrives: 60 bytes late, for ever",
               behind.Figures()},
          }};
}

EdgeGroup TheEnd() {
  Reader level(kLevel);
  level.ArriveWithEnd(80);
  // LT goes on to report the end until the connection is closed: so this one closes at it.
  while (level.Ask() != 0 && level.ReadBeforeEnd(kSmall)) continue;

  Reader blind(kEdge);
  blind.ArriveWithEnd(80);
  ReadUntilShortEach(blind, kLarge);

  Reader proof(kEdge | EPOLLRDHUP);
  proof.ArriveWithEnd(80);
  ReadByProofEach(proof, EPOLLRDHUP);

  Reader drain(kEdge);
  drain.ArriveWithEnd(80);
  DrainEach(drain, kLarge);

  return {"80 bytes and FIN arrive together",
          {
              {"fin-lt", "LT, one read of 20 for each return", "the fifth return is the end's",
               level.FiguresWithEnd()},
              {"fin-blind", "ET, reads of 64 KiB until one is short",
               "one edge told of both: the end is never seen, and the connection stays for ever",
               blind.FiguresWithEnd()},
              {"fin-rdhup", "ET, the same, but to the end after RDHUP",
               "EPOLLRDHUP says that a short read is not the last: as weir does",
               proof.FiguresWithEnd()},
              {"fin-drain", "ET, reads of 64 KiB to EAGAIN or the end",
               "who drains always needs no RDHUP", drain.FiguresWithEnd()},
          }};
}

EdgeGroup UrgentByte() {
  Reader level(kLevel);
  level.ArriveWithUrgent(40, 39);
  ReadOnceEach(level, kLarge);

  Reader blind(kEdge);
  blind.ArriveWithUrgent(40, 39);
  ReadUntilShortEach(blind, kLarge);

  Reader proof(kEdge | EPOLLPRI);
  proof.ArriveWithUrgent(40, 39);
  ReadByProofEach(proof, EPOLLPRI);

  return {"40 bytes, an urgent one, 39 more (told: what FIONREAD says, before and after)",
          {
              {"urgent-lt", "LT, one read of 64 KiB for each return",
               "a read stops at the urgent byte, which is not in the stream; LT tells of the rest",
               level.FiguresWithTold()},
              {"urgent-blind", "ET, reads of 64 KiB until one is short",
               "39 bytes wait for an event that does not come, and FIONREAD denies them",
               blind.FiguresWithTold()},
              {"urgent-pri", "ET, the same, but to EAGAIN after PRI",
               "EPOLLPRI says that a short read is not the last: as weir does",
               proof.FiguresWithTold()},
          }};
}

}  // namespace models::edges
