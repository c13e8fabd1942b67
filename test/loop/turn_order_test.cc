#include <string>
#include <vector>

#include "loop/turn.h"
#include "support/catch.h"

namespace {

class Host {
 public:
  int Wait(weir::Duration max_wait) {
    asked = max_wait;
    steps.emplace_back("wait");
    return 42;
  }
  int TakeMail() { return Step("mail", 1); }
  int TakeEdges(int events) {
    given = events;
    return Step("edges", 10);
  }
  int ServeOwed() { return Step("owed", 100); }
  int FireTimers() { return Step("timers", 1000); }
  int Retire() { return Step("retire", 10'000); }
  void EndBatch() { Step("batch", 0); }
  int Flush() { return Step("flush", 100'000); }

  std::vector<std::string> steps;
  weir::Duration asked{};
  int given = 0;

 private:
  int Step(const char* name, int served) {
    steps.emplace_back(name);
    return served;
  }
};

}  // namespace

TEST_CASE("a turn waits, then serves mail, edges, owed, timers, retire, batch, flush", "[loop]") {
  Host host;
  const int served = weir::RunTurn(host, std::chrono::seconds(3));

  CHECK(host.steps == std::vector<std::string>{"wait", "mail", "edges", "owed", "timers", "retire",
                                               "batch", "flush"});
  CHECK(host.asked == std::chrono::seconds(3));
  CHECK(host.given == 42);
  CHECK(served == 111'111);  // every step counts
}
