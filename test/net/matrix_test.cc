// Each thing that a program may do, inside each callback there is: nothing is called twice, nothing
// is used after its end (ASan sees to that), nothing is left over, and the neighbours live.

#include <array>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.h"
#include "support/real_loop.h"

using namespace std::chrono_literals;
using weir::CloseReason;
using weir::Connection;
using weir::EventLoop;
using weir::Options;
using weir::test::Client;
using weir::test::RealLoop;
using weir::test::Recorder;

namespace {

enum class Place {
  kStart,
  kAccept,
  kOpen,
  kData,
  kEnd,
  kDrain,
  kClose,
  kBatchEnd,
  kStop,
  kTimer,
  kTask
};
enum class Action {
  kCloseSelf,
  kCloseOther,
  kAbortSelf,
  kAbortOther,
  kWrite,
  kWriteLarge,
  kWriteAndClose,
  kWriteToOther,
  kPause,
  kStop,
  kAddTimer,
  kPost,
  kThrow,
};

struct Case {
  RealLoop<> it{Options{.high_water = 1000, .low_water = 100}};
  std::vector<Connection*> open;  // those between OnOpen and OnClose
  bool acted = false;
  int timers = 0;
  int tasks = 0;

  Case(Place place, Action action) {
    Recorder& handler = it.handler;
    const auto act = [this, place, action](Place here, Connection* self) {
      if (here != place || acted) return;
      acted = true;
      Do(action, self);
    };
    handler.on_start = [act](EventLoop&) { act(Place::kStart, nullptr); };
    handler.on_accept = [act](const weir::Accepted&) {
      act(Place::kAccept, nullptr);
      return true;
    };
    handler.on_open = [this, act](Connection& connection) {
      open.push_back(&connection);
      act(Place::kOpen, &connection);
    };
    handler.on_data = [act](Connection& connection, std::string_view in) {
      connection.Write(in);
      act(Place::kData, &connection);
      return in.size();
    };
    handler.on_end = [act](Connection& connection) {
      act(Place::kEnd, &connection);
      connection.Close();
    };
    handler.on_drain = [act](Connection& connection) { act(Place::kDrain, &connection); };
    handler.on_close = [this, act](Connection& connection) {
      REQUIRE(std::erase(open, &connection) == 1);  // exactly once for each OnOpen
      act(Place::kClose, &connection);
    };
    handler.on_batch_end = [this, act](EventLoop&) { act(Place::kBatchEnd, First()); };
    handler.on_stop = [this, act](EventLoop& loop) {
      loop.DrainAll();
      act(Place::kStop, First());
    };
    it.loop.RunAfter(0ms, [this, act] { act(Place::kTimer, First()); });
    it.loop.Post([this, act] { act(Place::kTask, First()); });
  }

  Connection* First() { return open.empty() ? nullptr : open.front(); }
  Connection* Other(const Connection* self) {
    for (Connection* const each : open) {
      if (each != self) return each;
    }
    return nullptr;
  }

  void Do(Action action, Connection* self) {
    Connection* const other = Other(self);
    switch (action) {
      case Action::kCloseSelf:
        if (self != nullptr) self->Close();
        break;
      case Action::kCloseOther:
        if (other != nullptr) other->Close();
        break;
      case Action::kAbortSelf:
        if (self != nullptr) self->Abort();
        break;
      case Action::kAbortOther:
        if (other != nullptr) other->Abort();
        break;
      case Action::kWrite:
        if (self != nullptr) self->Write("more");
        break;
      case Action::kWriteLarge:
        if (self != nullptr) self->Write(std::string(100'000, 'l'));
        break;
      case Action::kWriteAndClose:
        if (self != nullptr) {
          self->Write("last words");
          self->Close();
          REQUIRE_FALSE(self->Write("too late"));
        }
        break;
      case Action::kWriteToOther:
        if (other != nullptr) other->Write("from a neighbour");
        break;
      case Action::kPause:
        if (self != nullptr) {
          self->PauseRead();
          it.loop.RunAfter(1ms, [ref = self->Ref()] {
            if (Connection* const connection = ref.Get()) connection->ResumeRead();
          });
        }
        break;
      case Action::kStop:
        it.loop.Stop();
        break;
      case Action::kAddTimer:
        it.loop.RunAfter(0ms, [this] { ++timers; });
        break;
      case Action::kPost:
        REQUIRE(it.loop.Post([this] { ++tasks; }));
        break;
      case Action::kThrow:
        throw std::runtime_error("on purpose");
    }
  }
};

}  // namespace

TEST_CASE("any action inside any callback leaves the loop whole", "[net][matrix]") {
  const auto place = GENERATE(Place::kStart, Place::kAccept, Place::kOpen, Place::kData,
                              Place::kEnd, Place::kDrain, Place::kClose, Place::kBatchEnd,
                              Place::kStop, Place::kTimer, Place::kTask);
  const auto action =
      GENERATE(Action::kCloseSelf, Action::kCloseOther, Action::kAbortSelf, Action::kAbortOther,
               Action::kWrite, Action::kWriteLarge, Action::kWriteAndClose, Action::kWriteToOther,
               Action::kPause, Action::kStop, Action::kAddTimer, Action::kPost, Action::kThrow);
  CAPTURE(static_cast<int>(place), static_cast<int>(action));
  if (place == Place::kStart && action == Action::kThrow) return;  // leaves Run: exception_test
  Case test(place, action);
  auto& it = test.it;

  // Three clients; the second one's output passes high_water at once and drains again.
  std::array<Client, 3> clients{it.Connect(), it.Connect(), it.Connect()};
  const std::array<std::string, 3> texts{"one", std::string(20'000, '2'), "three"};
  for (std::size_t i = 0; i < clients.size(); ++i) clients[i].TrySend(texts[i]);
  it.RunUntilQuiet();
  static_cast<void>(::shutdown(clients[0].fd(), SHUT_WR));  // it may have been reset already
  it.RunUntilQuiet();
  for (Client& client : clients) client.Receive();
  it.loop.Stop();
  weir::sys::fake::Advance(2ms);  // the pause's timer
  const auto is_over = [&] {
    for (Client& client : clients) {
      while (client.Receive() > 0) {
      }
      if (client.ended || client.error != 0) client.Close();
    }
    return it.loop.IsStopped();
  };
  for (int i = 0; i < 10'000 && !is_over(); ++i) {
    it.Turn();
    if (!it.core().engine.HasWork()) weir::sys::fake::Advance(10ms);
  }

  REQUIRE(it.loop.IsStopped());
  CHECK(test.acted);
  CHECK(test.open.empty());
  CHECK(it.handler.opens == it.handler.closes);
  CHECK(it.core().table.live() == 0);
  CHECK(it.core().buffers.bytes_in_use() == 0);
  CHECK(it.core().contexts.in_use() == 0);
  CHECK(it.loop.GetStats().exceptions == (action == Action::kThrow ? 1 : 0));
  CHECK_FALSE(it.loop.Post([] {}));
  if (action == Action::kAddTimer && place != Place::kStop) CHECK(test.timers == 1);
  if (action == Action::kPost && place != Place::kStop) CHECK(test.tasks == 1);
}
