// A server's set-up: its loops, and the sockets of each URL.

#include "weir/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "os/machine.h"
#include "server/server_impl.h"
#include "weir/error.h"

namespace weir {
namespace {

constexpr int kMostLoops = 1024;

Options OptionsOfOne(Options options, int loops) {
  if (options.max_buffered == 0) {
    const std::size_t share = Machine{}.Memory() / 4 / static_cast<std::size_t>(loops);
    options.max_buffered = std::max<std::size_t>(share, 1);  // 0 would mean: all of it
  }
  return options;
}

HandlerSource LentToOneLoop(Handler& handler, const Options& options) {
  if (const int loops = CountLoops(options); loops > 1) {
    throw Error::Usage(fmt::format("Options::loops {}", loops),
                       "several loops cannot share one handler: give a factory, which makes one "
                       "for each loop, or weir::Shared{handler} if it may be called by several "
                       "threads at a time");
  }
  return {.borrowed = &handler};
}

}  // namespace

// ---- The public class

Server::Server(Factory factory, const Options& options)
    : impl_(std::make_unique<Impl>(HandlerSource{.factory = std::move(factory)}, options)) {}
Server::Server(Handler& handler, const Options& options)
    : impl_(std::make_unique<Impl>(LentToOneLoop(handler, options), options)) {}
Server::Server(Shared shared, const Options& options)
    : impl_(std::make_unique<Impl>(HandlerSource{.borrowed = &shared.handler}, options)) {}
Server::~Server() = default;

int Server::Listen(std::string_view url) { return impl_->Listen(url, std::nullopt); }
int Server::Listen(std::string_view url, Factory factory) {
  return impl_->Listen(url, std::move(factory));
}
void Server::Run() { impl_->Run(); }
void Server::Start() { impl_->Start(); }
void Server::Join() { impl_->Join(); }
void Server::Stop(Duration grace) noexcept { impl_->Stop(grace); }
std::vector<Address> Server::Addresses() const { return impl_->Addresses(); }
int Server::Loops() const noexcept { return impl_->Loops(); }
EventLoop& Server::Loop(int index) noexcept { return impl_->Loop(index); }
Stats Server::GetStats() const noexcept { return impl_->GetStats(); }

// ---- Set-up

int CountLoops(const Options& options) {
  if (options.loops < 0 || options.loops > kMostLoops) {
    throw Error::Usage("Options::loops",
                       fmt::format("{} is not in 0..{}", options.loops, kMostLoops));
  }
  return options.loops != 0 ? options.loops : std::min(Machine{}.Cpus(), kMostLoops);
}

Server::Impl::Impl(HandlerSource handlers, const Options& options)
    : options_(options), cpus_(options.pin_cpus ? sys::AllowedCpus() : std::vector<int>()) {
  if (handlers.borrowed == nullptr && !handlers.factory) {
    throw Error::Usage("Server", "the factory is empty");
  }
  if (options.pin_cpus && cpus_.empty()) {
    throw Error::Usage("Options::pin_cpus", "the system does not say which processors there are");
  }
  sources_.push_back(std::move(handlers));
  const int loops = CountLoops(options);
  const Options of_one = OptionsOfOne(options, loops);
  shards_.resize(static_cast<std::size_t>(loops));
  std::vector<LoopImpl*> impls;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    shards_[i].loop = std::make_unique<EventLoop>(of_one);
    ImplOf(i).SetIndex(static_cast<int>(i));
    impls.push_back(&ImplOf(i));
  }
  if (loops == 1) return;
  impls.front()->OnAcceptingEnded([this](Duration grace) { StopOthers(grace); });
  if (options.balance != Balance::kReusePort) balancer_.emplace(options.balance, std::move(impls));
}

int Server::Impl::Listen(std::string_view url, std::optional<Factory> factory) {
  Check(gate_ == nullptr, "Server::Listen() comes before Run() and Start()");
  if (factory.has_value() && !*factory) {
    throw Error::Usage(fmt::format("listen {}", url), "the factory is empty");
  }
  const Endpoint endpoint = Endpoint::Parse(url);
  ImplOf(0).CheckIsFree(endpoint);
  const int number = AddAcceptors(Bind(endpoint));
  source_of_.push_back(factory.has_value() ? sources_.size() : 0);
  if (factory.has_value()) sources_.push_back({.factory = std::move(*factory)});
  log::Info("listening on {}", ImplOf(0).ListenUrl(number));
  return number;
}

std::vector<ListenSource> Server::Impl::Bind(const Endpoint& endpoint) {
  if (shards_.size() == 1 || balancer_.has_value()) return BindOne(endpoint);
  if (endpoint.kind == Endpoint::Kind::kTcp) return BindShards(endpoint);
  return BindShared(endpoint);
}

// Loop 0 accepts.
std::vector<ListenSource> Server::Impl::BindOne(const Endpoint& endpoint) {
  std::vector<ListenSource> sources(shards_.size());
  sources.front().own = std::make_unique<ListenSocket>(endpoint, options_);
  sources.front().distributor = balancer_.has_value() ? &*balancer_ : nullptr;
  for (std::size_t i = 1; i < sources.size(); ++i) sources[i].elsewhere = sources.front().own.get();
  return sources;
}

// Each loop has a listener of its own.
std::vector<ListenSource> Server::Impl::BindShards(const Endpoint& endpoint) {
  auto sockets = ListenSocket::OpenShards(endpoint, options_, Loops());
  // Where other processes share the port nobody knows the places of its sockets.
  if (options_.pin_cpus && !endpoint.reuse_port) {
    std::vector<int> cpus;
    for (std::size_t i = 0; i < shards_.size(); ++i) cpus.push_back(CpuOf(i));
    if (const int result = sockets.front()->SteerByCpu(cpus); result < 0) {
      throw Error::System(fmt::format("listen {}: SO_ATTACH_REUSEPORT_CBPF", endpoint.url),
                          -result);
    }
  }
  std::vector<ListenSource> sources(shards_.size());
  for (std::size_t i = 0; i < sources.size(); ++i) sources[i].own = std::move(sockets[i]);
  return sources;
}

// One listener stands in the epoll of every loop.
std::vector<ListenSource> Server::Impl::BindShared(const Endpoint& endpoint) {
  SharedListener& listener = shared_listeners_.emplace_back(endpoint, options_);
  std::vector<ListenSource> sources(shards_.size());
  for (ListenSource& source : sources) source.shared = &listener;
  return sources;
}

// A listener has the same number on every loop: if one loop fails, none has it.
int Server::Impl::AddAcceptors(std::vector<ListenSource> sources) {
  int number = 0;
  std::size_t added = 0;
  try {
    for (; added < shards_.size(); ++added) {
      number = ImplOf(added).AddAcceptor(std::move(sources[added]));
    }
  } catch (...) {
    while (added > 0) ImplOf(--added).RemoveLastAcceptor();
    throw;
  }
  return number;
}

// ---- Facts

std::vector<Address> Server::Impl::Addresses() const {
  std::vector<Address> addresses;
  for (std::size_t i = 0; i < source_of_.size(); ++i) {
    addresses.push_back(ImplOf(0).ListenAddress(static_cast<int>(i)));
  }
  return addresses;
}

EventLoop& Server::Impl::Loop(int index) noexcept {
  Check(index >= 0 && index < Loops(), "Server::Loop() is given the number of one of its loops");
  return *shards_[static_cast<std::size_t>(index)].loop;
}

Stats Server::Impl::GetStats() const noexcept {
  Stats sum = shards_.front().loop->GetStats();
  for (std::size_t i = 1; i < shards_.size(); ++i) Accumulate(sum, shards_[i].loop->GetStats());
  return sum;
}

}  // namespace weir
