// The six-line server: Options::loops loops, the first on this thread, until SIGINT or SIGTERM.
//
//     struct Echo : weir::Handler {
//       std::size_t OnData(weir::Connection& connection, std::string_view in) override {
//         connection.Write(in);
//         return in.size();
//       }
//     };
//     int main() { return weir::Serve<Echo>({"tcp://127.0.0.1:7000"}); }
//
// THREADS   Call it before other threads start: it blocks SIGINT and SIGTERM on this thread while
//           it runs, and threads started before would still take them.
// ERRORS    Throws nothing that weir throws: a URL or an option that cannot be understood, and one
//           handler for several loops, is logged and returns 2; what the system refuses (a busy
//           port, a path without permission), and what a factory or OnStart throws, is logged and
//           returns 1. After a drain: 0.
//
// The first signal is Stop(Options::drain), the second Stop(0).

#pragma once

#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "weir/handler.h"
#include "weir/options.h"
#include "weir/server.h"

namespace weir {

// One handler for each loop, made on the loop's thread.
int Serve(Server::Factory factory, std::span<const std::string_view> urls,
          const Options& options = {});

inline int Serve(Server::Factory factory, std::initializer_list<std::string_view> urls,
                 const Options& options = {}) {
  return Serve(std::move(factory), std::span<const std::string_view>(urls.begin(), urls.size()),
               options);
}

// One loop.
int Serve(Handler& handler, std::span<const std::string_view> urls, const Options& options = {});

inline int Serve(Handler& handler, std::initializer_list<std::string_view> urls,
                 const Options& options = {}) {
  return Serve(handler, std::span<const std::string_view>(urls.begin(), urls.size()), options);
}

// An H for each loop.
template <class H>
int Serve(std::initializer_list<std::string_view> urls, const Options& options = {}) {
  return Serve([](EventLoop&) -> std::unique_ptr<Handler> { return std::make_unique<H>(); }, urls,
               options);
}

}  // namespace weir
