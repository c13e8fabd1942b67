// A descriptor has one owner, and is closed once.

#include "os/unique_fd.h"

#include <fcntl.h>

#include <utility>

#include "support/catch.h"

using weir::UniqueFd;
namespace sys = weir::sys;

namespace {

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

}  // namespace

TEST_CASE("a descriptor is closed with its owner, once", "[fd]") {
  sys::calls() = {};
  int number = -1;
  {
    UniqueFd first(sys::EventFd());
    REQUIRE(first);
    number = first.get();
    const UniqueFd second = std::move(first);
    CHECK_FALSE(first);  // NOLINT(bugprone-use-after-move): what is left behind is what is tested
    CHECK(second.get() == number);
    CHECK(IsOpen(number));
  }
  CHECK_FALSE(IsOpen(number));
  CHECK(sys::calls().close == 1);
}

TEST_CASE("no descriptor is not closed", "[fd]") {
  sys::calls() = {};
  {
    const UniqueFd none;
    const UniqueFd failed(-EMFILE);
    CHECK_FALSE(none);
    CHECK_FALSE(failed);
  }
  CHECK(sys::calls().close == 0);
}

TEST_CASE("a released descriptor is its taker's to close", "[fd]") {
  UniqueFd owner(sys::EventFd());
  const int number = owner.release();
  CHECK_FALSE(owner);
  owner.reset();
  CHECK(IsOpen(number));
  CHECK(sys::Close(number) == 0);
}

TEST_CASE("an assigned descriptor replaces and closes the old one", "[fd]") {
  UniqueFd owner(sys::EventFd());
  const int old = owner.get();
  UniqueFd fresh(sys::EventFd());
  const int number = fresh.get();

  owner = std::move(fresh);
  CHECK_FALSE(IsOpen(old));
  CHECK(owner.get() == number);

  UniqueFd& self = owner;
  owner = std::move(self);
  CHECK(owner.get() == number);
  CHECK(IsOpen(number));
}
