// weir: edge-triggered epoll as in epoll_edge.cc, with everything that a server needs besides.

#include <weir/weir.h>

#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>

#include "models/servers/server.h"

namespace models {
namespace {

class Echo final : public weir::Handler {
 public:
  std::size_t OnData(weir::Connection& connection, std::string_view in) override {
    connection.Write(in);
    return in.size();
  }
};

}  // namespace

void ServeWeir(int listener) {
  // The loop closes what it inherits; ours stays the caller's.
  const int code = weir::Serve<Echo>({"fd://" + std::to_string(listener)});
  if (code != 0) std::exit(code);  // the reason is on stderr
}

}  // namespace models
