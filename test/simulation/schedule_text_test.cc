// A schedule that somebody has written down, or changed by hand, has to be read as it was meant.

#include "simulation/schedule_text.h"

#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "support/catch.h"

using weir::sim::ParseSchedule;
using weir::sim::Schedule;
using weir::sim::ScheduleError;
using weir::sim::Stream;
using weir::sim::ToText;

namespace {

// Half of it zeros, in runs; of the rest small numbers and large ones.
Schedule RandomSchedule(unsigned seed) {
  std::mt19937 random(seed);
  Schedule schedule;
  for (auto& choices : schedule.streams) {
    while (random() % 20 != 0) choices.insert(choices.end(), random() % 50, 0);
    for (std::size_t left = random() % 100; left > 0; --left) {
      const auto at = static_cast<std::ptrdiff_t>(random() % (choices.size() + 1));
      const auto choice = static_cast<std::uint32_t>(random() >> (random() % 32));
      choices.insert(choices.begin() + at, choice);
    }
  }
  return schedule;
}

std::string ErrorOf(std::string_view text) {
  try {
    static_cast<void>(ParseSchedule(text));
  } catch (const ScheduleError& error) {
    return error.what();
  }
  return "none";
}

}  // namespace

TEST_CASE("a schedule is written a stream to a line, and runs of zeros in short", "[schedule]") {
  Schedule schedule;
  schedule[Stream::kPlan] = {3, 0, 0, 0, 5};
  schedule[Stream::kOrder] = {0, 4294967295, 0, 0};
  CHECK(ToText(schedule) == "plan: 3 0*3 5\norder: 0 4294967295 0*2\n");
  CHECK(ToText(Schedule{}).empty());
}

TEST_CASE("what was written is read back", "[schedule]") {
  for (unsigned seed = 0; seed < 200; ++seed) {
    const Schedule schedule = RandomSchedule(seed);
    REQUIRE(ParseSchedule(ToText(schedule)) == schedule);
  }
}

TEST_CASE("a long stream goes on in further lines of its name", "[schedule]") {
  Schedule schedule;
  schedule[Stream::kFaults].assign(1000, 1);
  const std::string text = ToText(schedule);
  std::size_t lines = 0;
  for (std::size_t begin = 0; begin < text.size(); ++lines) {
    const std::size_t end = text.find('\n', begin);
    REQUIRE(end - begin <= 100);
    REQUIRE(text.compare(begin, 8, "faults: ") == 0);
    begin = end + 1;
  }
  CHECK(lines == 1000 / 46 + 1);  // 46 of them fit, behind the name
}

TEST_CASE("remarks, empty lines and spare spaces say nothing", "[schedule]") {
  Schedule schedule;
  schedule[Stream::kPlan] = {1, 2, 3};
  CHECK(ParseSchedule("# plan: 9\n\nplan:  1 2 \nplan: 3") == schedule);
  CHECK(ParseSchedule("") == Schedule{});
}

TEST_CASE("what cannot be read is named, and its line", "[schedule]") {
  const auto [text, error] = GENERATE(table<std::string, std::string>({
      {"plan: 1\nfaults 2", "line 2: no ':' in 'faults 2'"},
      {"luck: 1", "line 1: 'luck' is none of plan, faults, order"},
      {"#\n\nplan: 1 x2", "line 3: 'x2' is neither a number below 2^32 nor 0*COUNT"},
      {"plan: 4294967296", "line 1: '4294967296' is neither a number below 2^32 nor 0*COUNT"},
      {"plan: -1", "line 1: '-1' is neither a number below 2^32 nor 0*COUNT"},
      {"plan: 0*", "line 1: '0*' is neither a number below 2^32 nor 0*COUNT"},
      {"plan: 0*0", "line 1: '0*0' is neither a number below 2^32 nor 0*COUNT"},
      {"plan: 0*99999999999", "line 1: '0*99999999999' makes more than 67108864 choices"},
      {"plan: 1 0*67108864", "line 1: '0*67108864' makes more than 67108864 choices"},
  }));
  CHECK(ErrorOf(text) == error);
}
