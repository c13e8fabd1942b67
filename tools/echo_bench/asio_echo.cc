// An echo server on standalone Asio, for tools/bench.
//
// One thread, and Asio is told so (ASIO_CONCURRENCY_HINT_UNSAFE: no locks). Its reactor is
// edge-triggered and tries each read and write before it waits for it. With an argument it tells
// its library's version.

#include <array>
#include <asio.hpp>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <memory>
#include <utility>

namespace {

using asio::ip::tcp;

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(tcp::socket socket) : socket_(std::move(socket)) {}

  void Read() {
    socket_.async_read_some(
        asio::buffer(buffer_), [self = shared_from_this()](std::error_code error, std::size_t got) {
          if (!error) self->Write(got);  // else nobody holds it any more, and that closes it
        });
  }

 private:
  void Write(std::size_t size) {
    asio::async_write(socket_, asio::buffer(buffer_.data(), size),
                      [self = shared_from_this()](std::error_code error, std::size_t) {
                        if (!error) self->Read();
                      });
  }

  tcp::socket socket_;
  std::array<char, 64 << 10> buffer_;
};

void Accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([&acceptor](std::error_code error, tcp::socket socket) {
    if (error) throw std::system_error(error, "accept");
    std::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    std::make_shared<Session>(std::move(socket))->Read();
    Accept(acceptor);
  });
}

void Serve() {
  asio::io_context context(ASIO_CONCURRENCY_HINT_UNSAFE);
  tcp::acceptor acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  acceptor.listen(4096);
  std::printf("listening on tcp://127.0.0.1:%d\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  Accept(acceptor);
  context.run();
}

}  // namespace

int main(int argc, char** /*argv*/) {
  try {
    if (argc > 1) {
      std::printf("Asio %d.%d.%d\n", ASIO_VERSION / 100000, ASIO_VERSION / 100 % 1000,
                  ASIO_VERSION % 100);
      return 0;
    }
    Serve();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "asio_echo: %s\n", error.what());
    return 1;
  }
}
