// A handler that gives each connection an object of its own, and calls that.
//
//     struct Counter {
//       std::size_t bytes = 0;
//       std::size_t OnData(weir::Connection&, std::string_view in) {
//         bytes += in.size();
//         return in.size();
//       }
//     };
//     weir::SessionHandler<Counter> handler;
//
// A Session is made as Session(Connection&) or Session(), before its OnOpen, and has those of
//
//     void OnOpen(Connection&)
//     std::size_t OnData(Connection&, std::string_view)
//     void OnEnd(Connection&)
//     void OnDrain(Connection&)
//     void OnTimeout(Connection&, TimeoutKind)
//     void OnClose(Connection&, CloseReason, std::error_code)
//
// that it needs; OnData it must have. What it lacks does what Handler does.
//
// OWNER     The session is the connection's context (Connection::Emplace): do not emplace another.
// LIFETIME  Until its OnClose has returned.
// THREADS   The loop's thread.
// ERRORS    As Handler: what a session throws, also its constructor, closes its connection.

#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>
#include <system_error>
#include <type_traits>

#include "weir/connection.h"
#include "weir/handler.h"

namespace weir {

// "A session has std::size_t OnData(Connection&, std::string_view), and is made from a Connection&
// or from nothing."
template <class T>
concept Session = (std::constructible_from<T, Connection&> ||
                   std::default_initializable<T>)&&requires(T session, Connection& connection,
                                                            std::string_view in) {
  { session.OnData(connection, in) } -> std::same_as<std::size_t>;
};

template <Session T>
class SessionHandler : public Handler {
 public:
  void OnOpen(Connection& connection) override {
    T& session = Make(connection);
    if constexpr (requires { session.OnOpen(connection); }) session.OnOpen(connection);
  }

  std::size_t OnData(Connection& connection, std::string_view in) override {
    return connection.Get<T>().OnData(connection, in);
  }

  void OnEnd(Connection& connection) override {
    if constexpr (requires(T & session) { session.OnEnd(connection); }) {
      connection.Get<T>().OnEnd(connection);
    } else {
      Handler::OnEnd(connection);
    }
  }

  void OnDrain(Connection& connection) override {
    if constexpr (requires(T & session) { session.OnDrain(connection); }) {
      connection.Get<T>().OnDrain(connection);
    }
  }

  void OnTimeout(Connection& connection, TimeoutKind kind) override {
    if constexpr (requires(T & session) { session.OnTimeout(connection, kind); }) {
      connection.Get<T>().OnTimeout(connection, kind);
    } else {
      Handler::OnTimeout(connection, kind);
    }
  }

  void OnClose(Connection& connection, CloseReason reason, std::error_code error) override {
    if constexpr (requires(T & session) { session.OnClose(connection, reason, error); }) {
      // None was made if its constructor threw.
      if (T* const session = connection.TryGet<T>()) session->OnClose(connection, reason, error);
    }
  }

 private:
  static T& Make(Connection& connection) {
    if constexpr (std::constructible_from<T, Connection&>) {
      return connection.Emplace<T>(connection);
    } else {
      return connection.Emplace<T>();
    }
  }
};

}  // namespace weir
