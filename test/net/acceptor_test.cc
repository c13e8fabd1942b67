// Accepting, when the queue of clients is announced only once: budgets, and what accept(2) may
// say. The kernel is the real one; failures are put in front of it.

#include <cerrno>
#include <cstddef>
#include <vector>

#include "os/sys.h"
#include "support/catch.h"
#include "support/real_loop.h"

using weir::sys::Calls;
using weir::sys::fake::FailNext;
using weir::test::Client;
using weir::test::RealLoop;

namespace {

std::vector<Client> ConnectMany(RealLoop<>& it, std::size_t count) {
  std::vector<Client> clients;
  for (std::size_t i = 0; i < count; ++i) clients.push_back(it.Connect());
  return clients;
}

}  // namespace

TEST_CASE("a turn accepts at most accepts_per_turn, and no edge is needed for the rest",
          "[net][accept]") {
  RealLoop<> it{{.accepts_per_turn = 2}};
  const std::vector<Client> clients = ConnectMany(it, 7);
  for (const int opens : {2, 4, 6, 7}) {
    it.Turn();
    CHECK(it.handler.opens == opens);
  }
}

TEST_CASE("every passing error of accept means: the next one", "[net][accept]") {
  const int error = GENERATE(ECONNABORTED, EPROTO, EPERM, ENOPROTOOPT, EOPNOTSUPP, ENETDOWN,
                             ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENONET, ETIMEDOUT);
  RealLoop<> it;
  FailNext(&Calls::accept, error);
  const std::vector<Client> clients = ConnectMany(it, 2);
  it.Turn();
  CHECK(it.handler.opens == 2);
  CHECK(it.loop.GetStats().accept_errors == 1);
}

TEST_CASE("without descriptors clients wait; a close of ours gives them another try",
          "[net][accept]") {
  const int error = GENERATE(EMFILE, ENFILE, ENOBUFS, ENOMEM);
  RealLoop<> it;
  const Client first = it.ConnectAndOpen();
  weir::Connection* const open = it.handler.last;
  FailNext(&Calls::accept, error);
  const std::vector<Client> clients = ConnectMany(it, 2);
  it.Turn();
  CHECK(it.handler.opens == 1);
  it.Turn();
  CHECK(it.handler.opens == 1);  // no spin: nobody asks again at once

  open->Abort();
  it.Turn();
  it.Turn();
  CHECK(it.handler.opens == 3);
}

TEST_CASE("what OnAccept throws refuses that client, and is counted", "[net][accept]") {
  RealLoop<> it;
  it.handler.on_accept = [&](const weir::Accepted&) -> bool {
    if (it.loop.GetStats().exceptions == 0) throw 7;
    return true;
  };
  const std::vector<Client> clients = ConnectMany(it, 2);
  it.Turn();
  CHECK(it.handler.opens == 1);
  CHECK(it.loop.GetStats().exceptions == 1);
  CHECK(it.loop.GetStats().refused == 1);
}
