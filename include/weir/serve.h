// The six-line server: one loop on this thread, until SIGINT or SIGTERM.
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
// ERRORS    Throws nothing that weir throws: a URL or an option that cannot be understood is logged
//           and returns 2; what the system refuses (a busy port, a path without permission), and
//           what OnStart throws, is logged and returns 1. After a drain: 0.
//
// The first signal is Stop(Options::drain), the second Stop(0).

#pragma once

#include <initializer_list>
#include <span>
#include <string_view>

#include "weir/handler.h"
#include "weir/options.h"

namespace weir {

int Serve(Handler& handler, std::span<const std::string_view> urls, const Options& options = {});

inline int Serve(Handler& handler, std::initializer_list<std::string_view> urls,
                 const Options& options = {}) {
  return Serve(handler, std::span<const std::string_view>(urls.begin(), urls.size()), options);
}

template <class H>
int Serve(std::initializer_list<std::string_view> urls, const Options& options = {}) {
  H handler;
  return Serve(handler, urls, options);
}

}  // namespace weir
