// An echo server on libevent's bufferevents, for tools/bench.
//
// Input moves to output without a copy. The loop gathers its changes of what epoll waits for
// (EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST), since libevent watches for output whenever it has some.
// bufferevents are level-triggered: libevent offers edges only to those who do without them. One
// reads 4 KiB at a time at most, whatever it is told (libevent 2.1). With an argument it tells its
// library's version.

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { kHighWater = 1 << 20, kLowWater = 256 << 10, kBacklog = 4096 };

static void die(const char* what) {
  perror(what);
  exit(1);
}

static void on_read(struct bufferevent* bev, void* context) {
  (void)context;
  struct evbuffer* output = bufferevent_get_output(bev);
  evbuffer_add_buffer(output, bufferevent_get_input(bev));
  if (evbuffer_get_length(output) > kHighWater) bufferevent_disable(bev, EV_READ);
}

// Output has fallen to the low water.
static void on_write(struct bufferevent* bev, void* context) {
  (void)context;
  if ((bufferevent_get_enabled(bev) & EV_READ) == 0) bufferevent_enable(bev, EV_READ);
}

static void on_all_written(struct bufferevent* bev, void* context) {
  (void)context;
  bufferevent_free(bev);
}

static void on_error_at_end(struct bufferevent* bev, short what, void* context) {
  (void)what;
  (void)context;
  bufferevent_free(bev);
}

static void on_end(struct bufferevent* bev, short what, void* context) {
  if ((what & BEV_EVENT_EOF) == 0 || evbuffer_get_length(bufferevent_get_output(bev)) == 0) {
    bufferevent_free(bev);
    return;
  }
  bufferevent_setwatermark(bev, EV_WRITE, 0, 0);
  bufferevent_setcb(bev, NULL, on_all_written, on_error_at_end, context);
}

static void on_accept(struct evconnlistener* listener, evutil_socket_t fd, struct sockaddr* address,
                      int size, void* context) {
  (void)address;
  (void)size;
  (void)context;
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  struct event_base* base = evconnlistener_get_base(listener);
  struct bufferevent* bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
  if (bev == NULL) die("bufferevent_socket_new");
  bufferevent_setcb(bev, on_read, on_write, on_end, NULL);
  bufferevent_setwatermark(bev, EV_WRITE, kLowWater, 0);
  bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static struct event_base* new_base(void) {
  struct event_config* config = event_config_new();
  if (config == NULL) die("event_config_new");
  event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
  event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
  struct event_base* base = event_base_new_with_config(config);
  if (base == NULL) die("event_base_new_with_config");
  event_config_free(config);
  return base;
}

int main(int argc, char** argv) {
  (void)argv;
  if (argc > 1) return printf("libevent %s\n", event_get_version()) < 0;
  signal(SIGPIPE, SIG_IGN);
  struct event_base* base = new_base();
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct evconnlistener* listener =
      evconnlistener_new_bind(base, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
                              kBacklog, (const struct sockaddr*)&address, sizeof(address));
  if (listener == NULL) die("evconnlistener_new_bind");
  socklen_t size = sizeof(address);
  if (getsockname(evconnlistener_get_fd(listener), (struct sockaddr*)&address, &size) != 0) {
    die("getsockname");
  }
  printf("listening on tcp://127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return event_base_dispatch(base);
}
