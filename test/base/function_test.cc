// UniqueFunction: what it owns is destroyed exactly once, wherever it was moved, and small
// callables cost no allocation.

#include "weir/function.h"

#include <array>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "support/allocations.h"
#include "support/catch.h"

using weir::UniqueFunction;
using weir::Work;
using weir::test::Allocations;

namespace {

// Counts how many of its kind are alive, in `kBytes` bytes or a little more.
template <std::size_t kBytes, bool kNothrowMove = true>
class Counted {
 public:
  explicit Counted(int& alive) : alive_(&alive) { ++*alive_; }
  Counted(const Counted& other) : alive_(other.alive_) { ++*alive_; }
  Counted(Counted&& other) noexcept(kNothrowMove) : alive_(other.alive_) { ++*alive_; }
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --*alive_; }

  int operator()() const { return *alive_; }

 private:
  int* alive_;
  std::array<char, kBytes - sizeof(int*)> padding_{};
};

struct alignas(32) OverAligned {
  std::uintptr_t operator()() const { return reinterpret_cast<std::uintptr_t>(this); }
};

int Twice(int number) { return 2 * number; }

}  // namespace

static_assert(!std::is_copy_constructible_v<Work> && !std::is_copy_assignable_v<Work>);
static_assert(std::is_nothrow_move_constructible_v<Work> && std::is_nothrow_swappable_v<Work>);
static_assert(!std::is_constructible_v<Work, int>);
static_assert(!std::is_constructible_v<Work, void (*)(int)>);
static_assert(!std::is_constructible_v<UniqueFunction<int()>, std::string (*)()>);
static_assert(std::is_constructible_v<Work, int (*)()>, "a result that nobody wants is dropped");

TEST_CASE("an empty function says so, and throws when it is called", "[base][function]") {
  Work empty;
  CHECK_FALSE(empty);
  CHECK_THROWS_AS(empty(), std::bad_function_call);

  Work null = nullptr;
  CHECK_FALSE(null);

  int (*no_function)(int) = nullptr;
  UniqueFunction<int(int)> from_pointer = no_function;
  CHECK_FALSE(from_pointer);
  CHECK_THROWS_AS(from_pointer(1), std::bad_function_call);
}

TEST_CASE("a function passes arguments on and returns what its callable returns",
          "[base][function]") {
  UniqueFunction<int(int)> twice = Twice;
  CHECK(twice(21) == 42);

  UniqueFunction<std::unique_ptr<int>(std::unique_ptr<int>)> through =
      [](std::unique_ptr<int> pointer) { return pointer; };
  CHECK(*through(std::make_unique<int>(7)) == 7);

  UniqueFunction<void(int&)> increments = [](int& number) { ++number; };
  int number = 1;
  increments(number);
  CHECK(number == 2);

  UniqueFunction<std::size_t(const std::string&)> member = &std::string::size;
  CHECK(member("four") == 4);

  UniqueFunction<int()> counts = [count = 0]() mutable { return ++count; };
  counts();
  CHECK(counts() == 2);
}

TEST_CASE("a callable's exception passes through", "[base][function]") {
  Work throws = [] { throw std::runtime_error("no"); };
  CHECK_THROWS_AS(throws(), std::runtime_error);
  CHECK(throws);
}

TEST_CASE("a small callable lives inside, and costs no allocation", "[base][function]") {
  int alive = 0;
  const std::size_t before = Allocations();
  {
    UniqueFunction<int()> first = Counted<48>(alive);
    UniqueFunction<int()> second = std::move(first);
    first = std::move(second);
    CHECK(first() == 1);
  }
  CHECK(Allocations() == before);
  CHECK(alive == 0);
}

TEST_CASE("a large callable takes one allocation, and moving it none", "[base][function]") {
  int alive = 0;
  const std::size_t before = Allocations();
  {
    UniqueFunction<int()> first = Counted<56>(alive);
    CHECK(Allocations() == before + 1);
    UniqueFunction<int()> second = std::move(first);
    CHECK(second() == 1);
    CHECK(Allocations() == before + 1);
  }
  CHECK(alive == 0);
}

TEST_CASE("a callable whose move may throw lives on the heap, so that a function's never does",
          "[base][function]") {
  int alive = 0;
  const std::size_t before = Allocations();
  {
    UniqueFunction<int()> function = Counted<16, false>(alive);
    CHECK(Allocations() == before + 1);
    CHECK(function() == 1);
  }
  CHECK(alive == 0);
}

TEST_CASE("an over-aligned callable is aligned, wherever its function lies", "[base][function]") {
  struct Odd {
    alignas(32) std::array<char, 16> before{};
    UniqueFunction<std::uintptr_t()> function;  // at an odd multiple of 16
  };
  Odd it;
  it.function = OverAligned{};
  CHECK(it.function() % alignof(OverAligned) == 0);
  UniqueFunction<std::uintptr_t()> moved = std::move(it.function);
  CHECK(moved() % alignof(OverAligned) == 0);
}

TEST_CASE("a capture may be one that only moves", "[base][function]") {
  auto number = std::make_unique<int>(5);
  UniqueFunction<int()> function = [number = std::move(number)] { return *number; };
  const UniqueFunction<int()> unused;
  UniqueFunction<int()> moved = std::move(function);
  CHECK(moved() == 5);
  CHECK_FALSE(unused);
}

TEMPLATE_TEST_CASE("a callable is destroyed once, wherever it went", "[base][function]",
                   Counted<16>, Counted<256>) {
  int alive = 0;
  {
    UniqueFunction<int()> first = TestType(alive);
    UniqueFunction<int()> second = TestType(alive);
    CHECK(alive == 2);

    SECTION("moved from is empty") {
      UniqueFunction<int()> third = std::move(first);
      CHECK_FALSE(first);
      CHECK_THROWS_AS(first(), std::bad_function_call);
      CHECK(alive == 2);
    }
    SECTION("assignment destroys what was there") {
      first = std::move(second);
      CHECK(alive == 1);
      CHECK(first() == 1);
      CHECK_FALSE(second);
    }
    SECTION("so does null") {
      first = nullptr;
      CHECK(alive == 1);
      CHECK_FALSE(first);
    }
    SECTION("assignment to itself changes nothing") {
      UniqueFunction<int()>& same = first;
      first = std::move(same);
      CHECK(alive == 2);
      CHECK(first() == 2);
    }
    SECTION("swapping exchanges, and destroys nothing") {
      UniqueFunction<int()> empty;
      std::swap(first, empty);
      CHECK_FALSE(first);
      CHECK(empty() == 2);
    }
  }
  CHECK(alive == 0);
}

TEST_CASE("a callable that is being destroyed finds its function empty", "[base][function]") {
  struct Looks {
    Looks(Work& work, bool& found) : work_(&work), found_(&found) {}
    Looks(Looks&& other) noexcept
        : work_(std::exchange(other.work_, nullptr)), found_(other.found_) {}
    ~Looks() {
      if (work_ != nullptr) *found_ = static_cast<bool>(*work_);
    }
    void operator()() const {}
    Work* work_;
    bool* found_;
  };
  Work work;
  bool found = true;
  work = Looks(work, found);
  work = nullptr;
  CHECK_FALSE(found);
}
