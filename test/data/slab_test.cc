// Slab: a token finds its own owner and nobody else, whatever became of the slot.

#include "data/slab.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <stdexcept>
#include <vector>

#include "support/allocations.h"
#include "support/catch.h"

using weir::Token;
using weir::test::Allocations;

namespace {

struct alignas(64) Hot {
  Token token;
  int number = 0;
};

struct Cold {
  int number = 0;
};

using Slab = weir::Slab<Hot, Cold>;

}  // namespace

TEST_CASE("a token finds its object until that is freed, and never again", "[data][slab]") {
  Slab slab(10);
  Hot* const hot = slab.Allocate();
  const Token token = hot->token;
  CHECK(slab.Find(token) == hot);
  CHECK(&slab.At(token.slot) == hot);
  CHECK(slab.live() == 1);

  slab.Free(*hot);
  CHECK(slab.Find(token) == nullptr);
  CHECK(slab.live() == 0);

  slab.Reclaim();
  Hot* const next = slab.Allocate();
  CHECK(next == hot);
  CHECK(next->token.slot == token.slot);
  CHECK(next->token.generation == token.generation + 1);
  CHECK(slab.Find(token) == nullptr);
  CHECK(slab.Find(next->token) == hot);
}

TEST_CASE("a token that the slab never gave finds nothing", "[data][slab]") {
  Slab slab(10);
  CHECK(slab.Find({}) == nullptr);
  CHECK(slab.Find({.slot = 0, .generation = 1}) == nullptr);

  Hot* const hot = slab.Allocate();
  CHECK(slab.Find({.slot = 1, .generation = 0}) == nullptr);
  CHECK(slab.Find({.slot = 1, .generation = 1}) == nullptr);  // never had an owner
  CHECK(slab.Find({.slot = 256, .generation = 1}) == nullptr);
  CHECK(slab.Find({.slot = 0xffffffff, .generation = 1}) == nullptr);

  const Token token = hot->token;
  slab.Free(*hot);
  CHECK(slab.Find({.slot = token.slot, .generation = 0}) == nullptr);
  CHECK(slab.Find({.slot = token.slot, .generation = token.generation + 1}) == nullptr);
}

TEST_CASE("a slot that was freed is not used again before Reclaim", "[data][slab]") {
  Slab slab(2);
  Hot* const first = slab.Allocate();
  Hot* const second = slab.Allocate();
  slab.Free(*first);
  CHECK(slab.Allocate() == nullptr);
  slab.Free(*second);
  CHECK(slab.Allocate() == nullptr);

  slab.Reclaim();
  CHECK(slab.Allocate() == second);  // the last freed first
  CHECK(slab.Allocate() == first);
  CHECK(slab.Allocate() == nullptr);
}

TEST_CASE("slots reclaimed at several times are all used again, the last freed first",
          "[data][slab]") {
  Slab slab(5);
  std::vector<Hot*> all;
  for (int i = 0; i < 5; ++i) all.push_back(slab.Allocate());
  slab.Free(*all[0]);
  slab.Free(*all[1]);
  slab.Reclaim();
  slab.Reclaim();
  slab.Free(*all[2]);
  slab.Reclaim();
  slab.Free(*all[3]);
  CHECK(slab.Allocate() == all[2]);
  CHECK(slab.Allocate() == all[1]);
  CHECK(slab.Allocate() == all[0]);
  CHECK(slab.Allocate() == nullptr);
}

TEST_CASE("growing moves nothing, and stops at the limit", "[data][slab]") {
  constexpr std::size_t kSlots = 600;  // not a multiple of the chunk
  Slab slab(kSlots);
  std::vector<Hot*> all;
  std::set<Cold*> colds;
  for (std::size_t i = 0; i < kSlots; ++i) {
    all.push_back(slab.Allocate());
    REQUIRE(all.back() != nullptr);
    all.back()->number = static_cast<int>(i);
    slab.ColdAt(all.back()->token.slot).number = -static_cast<int>(i);
    colds.insert(&slab.ColdAt(all.back()->token.slot));
  }
  CHECK(slab.Allocate() == nullptr);
  CHECK(slab.live() == kSlots);
  CHECK(colds.size() == kSlots);
  for (std::size_t i = 0; i < kSlots; ++i) {
    CHECK(slab.Find(all[i]->token) == all[i]);
    CHECK(all[i]->number == static_cast<int>(i));
    CHECK(slab.ColdAt(all[i]->token.slot).number == -static_cast<int>(i));
  }
}

TEST_CASE("only a new chunk allocates", "[data][slab]") {
  Slab slab(300);
  std::vector<Hot*> all(300);
  for (Hot*& hot : all) hot = slab.Allocate();
  const std::size_t before = Allocations();
  for (Hot* hot : all) slab.Free(*hot);
  slab.Reclaim();
  for (Hot*& hot : all) hot = slab.Allocate();
  CHECK(Allocations() == before);
}

TEST_CASE("an object is used again as it was left", "[data][slab]") {
  Slab slab(1);
  Hot* const hot = slab.Allocate();
  hot->number = 7;
  slab.ColdAt(hot->token.slot).number = 8;
  slab.Free(*hot);
  slab.Reclaim();
  CHECK(slab.Allocate()->number == 7);
  CHECK(slab.ColdAt(hot->token.slot).number == 8);
}

TEST_CASE("a slot whose generation would wrap is never used again", "[data][slab]") {
  Slab slab(1);
  Hot* const hot = slab.Allocate();
  hot->token.generation = std::numeric_limits<std::uint32_t>::max() - 1;
  slab.Free(*hot);
  slab.Reclaim();
  REQUIRE(slab.Allocate() == hot);
  CHECK(hot->token.generation == std::numeric_limits<std::uint32_t>::max());

  slab.Free(*hot);
  slab.Reclaim();
  Hot* const other =
      slab.Allocate();  // the limit is on objects in use: another slot takes its place
  REQUIRE(other != nullptr);
  CHECK(other != hot);
  CHECK(slab.Find({.slot = 0, .generation = 0}) == nullptr);
  CHECK(slab.Allocate() == nullptr);
}

TEST_CASE("ForEach visits the live ones, in the order of slots", "[data][slab]") {
  Slab slab(1000);
  std::vector<Hot*> all(300);
  for (Hot*& hot : all) hot = slab.Allocate();
  std::vector<Hot*> expected;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i % 3 == 0) {
      slab.Free(*all[i]);
    } else {
      expected.push_back(all[i]);
    }
  }
  std::vector<Hot*> visited;
  slab.ForEach([&](Hot& hot) { visited.push_back(&hot); });
  CHECK(visited == expected);
}

TEST_CASE("ForEach bears with objects that come and go", "[data][slab]") {
  Slab slab(100'000);
  std::vector<Hot*> all(256);  // a full chunk: allocating adds another
  for (Hot*& hot : all) hot = slab.Allocate();
  std::set<Hot*> visited;
  slab.ForEach([&](Hot& hot) {
    CHECK(visited.insert(&hot).second);
    if (&hot == all[10]) {
      slab.Free(hot);        // itself
      slab.Free(*all[5]);    // one that was visited
      slab.Free(*all[200]);  // one that was not
    }
    static_cast<void>(slab.Allocate());
  });
  CHECK(visited.count(all[200]) == 0);
  CHECK(visited.count(all[255]) == 1);
  CHECK(visited.size() >= 255);
}

TEST_CASE("a limit that tokens cannot number is refused", "[data][slab]") {
  CHECK_THROWS_AS(Slab(Slab::kMaxSlots + 1), std::length_error);
  Slab none(0);
  CHECK(none.Allocate() == nullptr);
}

TEST_CASE("the cold part of an object is found without the table", "[data][slab]") {
  Slab slab(1000);
  std::vector<Hot*> all(3 * Slab::kChunkSlots + 7);
  for (Hot*& hot : all) hot = slab.Allocate();
  for (Hot* const hot : all) REQUIRE(&Slab::ColdOf(*hot) == &slab.ColdAt(hot->token.slot));

  // Whatever the sizes of the two parts are.
  struct alignas(64) LargeHot {
    Token token;
    char bytes[300];
  };
  struct LargeCold {
    std::uint64_t numbers[60];
  };
  const auto check = [](auto slabs) {
    using Any = typename decltype(slabs)::element_type;
    for (std::uint32_t i = 0; i < 2 * Any::kChunkSlots; ++i) {
      auto* const hot = slabs->Allocate();
      REQUIRE(&Any::ColdOf(*hot) == &slabs->ColdAt(hot->token.slot));
    }
  };
  check(std::make_unique<weir::Slab<LargeHot, Cold>>(600));
  check(std::make_unique<weir::Slab<Hot, LargeCold>>(600));
  check(std::make_unique<weir::Slab<LargeHot, LargeCold>>(600));
}

TEST_CASE("a token that was given finds its owner only, and one of no slot nobody",
          "[data][slab]") {
  Slab slab(1000);
  CHECK(slab.FindGiven({.slot = 0, .generation = 1}) == nullptr);
  std::vector<Hot*> all(300);
  for (Hot*& hot : all) hot = slab.Allocate();
  for (Hot* const hot : all) CHECK(slab.FindGiven(hot->token) == hot);

  // Never used: also in the same chunk, where no owner ever was.
  for (const std::uint32_t slot : {300U, 511U, 512U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
    CHECK(slab.FindGiven({.slot = slot, .generation = 1}) == nullptr);
    CHECK(slab.FindGiven({.slot = slot, .generation = 0}) == nullptr);
  }

  const Token token = all[299]->token;
  slab.Free(*all[299]);
  CHECK(slab.FindGiven(token) == nullptr);  // in quarantine
  slab.Reclaim();
  CHECK(slab.FindGiven(token) == nullptr);  // free
  for (std::uint32_t later = 1; later < 5; ++later) {
    Hot* const next = slab.Allocate();
    REQUIRE(next == all[299]);
    CHECK(slab.FindGiven(token) == nullptr);  // another's
    CHECK(slab.FindGiven(next->token) == next);
    CHECK(next->token.generation == token.generation + later);
    slab.Free(*next);
    slab.Reclaim();
  }
}
