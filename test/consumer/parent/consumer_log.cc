// A program that takes weir's log lines.

#include <spdlog/sinks/ostream_sink.h>
#include <weir/log.h>
#include <weir/weir.h>

#include <cstdio>
#include <memory>
#include <sstream>
#include <string>

int main() {
  std::ostringstream lines;
  const auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(lines);
  weir::SetLogger(std::make_shared<spdlog::logger>("parent", sink));

  weir::Handler handler;
  weir::EventLoop loop;
  loop.Listen("tcp://127.0.0.1:0", handler);
  loop.Stop();
  loop.Run();

  const bool told = lines.str().find("listening on tcp://127.0.0.1:") != std::string::npos;
  std::printf("weir's lines are %s\n", told ? "ours" : "lost");
  return told ? 0 : 1;
}
