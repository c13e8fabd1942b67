// An echo server: everything that comes goes back.
//
//     echo --listen tcp://127.0.0.1:7000 --listen unix:/tmp/echo.sock

#include <weir/weir.h>

#include <string_view>

#include "options.h"

namespace {

constexpr example::About kAbout{"echo", "Sends back all that it receives.\n"};

struct Echo : weir::Handler {
  explicit Echo(std::size_t listener_count) : listeners(listener_count) {}

  void OnStart(weir::EventLoop& loop) override { example::PrintListeners(loop, listeners); }

  std::size_t OnData(weir::Connection& connection, std::string_view in) override {
    connection.Write(in);
    return in.size();
  }

  std::size_t listeners;
};

}  // namespace

int main(int argc, char** argv) {
  const auto [urls, exit_code] = example::ParseOptions(argc, argv, kAbout);
  if (exit_code) return *exit_code;
  Echo echo(urls.size());
  return weir::Serve(echo, urls);
}
