// A program that uses weir from outside: it serves one client, itself.

#include <sys/socket.h>
#include <unistd.h>
#include <weir/weir.h>

#include <array>
#include <cstdio>
#include <string_view>

namespace {

// Connected, and has said "ping".
int Connect(const weir::Address& to) {
  const int client = socket(static_cast<const sockaddr*>(to.Raw())->sa_family, SOCK_STREAM, 0);
  if (connect(client, static_cast<const sockaddr*>(to.Raw()),
              static_cast<socklen_t>(to.RawSize())) != 0 ||
      write(client, "ping", 4) != 4) {
    std::perror("client");
    return -1;
  }
  return client;
}

struct Session {
  static std::size_t OnData(weir::Connection& connection, std::string_view in) {
    if (in != "ping") return 0;
    connection.Write("pong");
    connection.Loop().RunAfter(weir::Duration::zero(),
                               [&loop = connection.Loop()] { loop.Stop(weir::Duration::zero()); });
    return in.size();
  }
};

// What the library throws is caught here, also from a shared one.
bool RefusesWhatIsNoUrl(weir::EventLoop& loop, weir::Handler& handler) {
  try {
    loop.Listen("no URL", handler);
  } catch (const weir::Error& error) {
    return error.IsUsage();
  }
  return false;
}

}  // namespace

int main() {
  weir::SessionHandler<Session> handler;
  weir::EventLoop loop;
  if (!RefusesWhatIsNoUrl(loop, handler)) return 1;
  const int client = Connect(loop.ListenAddress(loop.Listen("tcp://127.0.0.1:0", handler)));
  if (client < 0) return 1;
  loop.Run();

  std::array<char, 4> answer{};
  if (read(client, answer.data(), answer.size()) != 4) return 1;
  close(client);
  std::printf("weir %s says %.4s\n", WEIR_VERSION_STRING, answer.data());
}
