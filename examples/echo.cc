// An echo server: everything that comes goes back.
//
//     echo --listen tcp://127.0.0.1:7000 --listen unix:/tmp/echo.sock

#include <getopt.h>
#include <weir/weir.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace {

constexpr const char* kHelp =
    "usage: echo [--listen URL]...\n"
    "Sends back all that it receives. SIGINT and SIGTERM drain it: what has arrived is answered "
    "first;\n"
    "a second signal ends it at once.\n"
    "\n"
    "  --listen URL  where to listen; repeatable (default tcp://127.0.0.1:7000)\n"
    "                  tcp://127.0.0.1:7000  tcp://[::1]:7000  tcp://:7000 (every address)\n"
    "                  unix:/path  unix:@abstract\n"
    "                with ?backlog=N, &v6only=1, &mode=0660; port 0 takes a free one\n"
    "  --help        this text\n"
    "  --version     the version\n";

struct Echo : weir::Handler {
  explicit Echo(std::size_t listener_count) : listeners(static_cast<int>(listener_count)) {}

  void OnStart(weir::EventLoop& loop) override {
    for (int i = 0; i < listeners; ++i) {
      const weir::Address address = loop.ListenAddress(i);
      const char* const scheme = address.IsUnix() ? "unix:" : "tcp://";
      std::printf("listening on %s%s\n", scheme, address.ToString().c_str());
    }
    if (std::fflush(stdout) != 0) throw std::system_error(errno, std::generic_category(), "stdout");
  }

  std::size_t OnData(weir::Connection& connection, std::string_view in) override {
    connection.Write(in);
    return in.size();
  }

  int listeners;
};

// The exit code of who only had to print `text`.
int Print(const char* text) {
  if (std::fputs(text, stdout) >= 0 && std::fflush(stdout) == 0) return 0;
  std::perror("echo: stdout");
  return 1;
}

// -1: go on; else the exit code.
int ParseOptions(int argc, char** argv, std::vector<std::string_view>& urls) {
  const option options[] = {{"listen", required_argument, nullptr, 'l'},
                            {"help", no_argument, nullptr, 'h'},
                            {"version", no_argument, nullptr, 'v'},
                            {}};
  for (int option; (option = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    switch (option) {
      case 'l':
        urls.emplace_back(optarg);
        break;
      case 'h':
        return Print(kHelp);
      case 'v':
        return Print("echo (weir) " WEIR_VERSION_STRING "\n");
      default:
        return 2;  // getopt_long has named it
    }
  }
  if (optind < argc) {
    std::fprintf(stderr, "echo: unexpected argument '%s'\n", argv[optind]);
    return 2;
  }
  return -1;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string_view> urls;
  if (const int code = ParseOptions(argc, argv, urls); code >= 0) return code;
  if (urls.empty()) urls.emplace_back("tcp://127.0.0.1:7000");
  Echo echo(urls.size());
  return weir::Serve(echo, urls);
}
