// An echo server on libuv, for tools/bench.
//
// uv_try_write() first, which costs no request; what it leaves is queued with uv_write(), and until
// that is done nothing more is read. libuv calls alloc() right before it reads and read() right
// after, so one buffer serves all connections. With an argument it tells its library's version.

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { kBufferSize = 64 << 10, kBacklog = 4096 };

// What uv_try_write() did not take; its bytes stand behind it.
struct rest {
  uv_write_t request;
  char data[];
};

static char buffer[kBufferSize];

static void check(int result, const char* what) {
  if (result >= 0) return;
  fprintf(stderr, "%s: %s\n", what, uv_strerror(result));
  exit(1);
}

static void on_close(uv_handle_t* handle) { free(handle); }

static void end_connection(uv_stream_t* stream) {
  uv_handle_t* handle = (uv_handle_t*)stream;
  if (!uv_is_closing(handle)) uv_close(handle, on_close);
}

static void alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* out) {
  (void)handle;
  (void)suggested;
  *out = uv_buf_init(buffer, sizeof(buffer));
}

static void on_read(uv_stream_t* stream, ssize_t got, const uv_buf_t* in);

static void on_written(uv_write_t* request, int status) {
  uv_stream_t* stream = request->handle;
  free(request->data);
  if (status < 0 || uv_read_start(stream, alloc, on_read) != 0) end_connection(stream);
}

static int queue(uv_stream_t* stream, const char* data, size_t size) {
  struct rest* rest = malloc(sizeof(*rest) + size);
  if (rest == NULL) return UV_ENOMEM;
  memcpy(rest->data, data, size);
  rest->request.data = rest;
  const uv_buf_t out = uv_buf_init(rest->data, (unsigned)size);
  const int result = uv_write(&rest->request, stream, &out, 1, on_written);
  if (result < 0) {
    free(rest);
    return result;
  }
  return uv_read_stop(stream);
}

static void on_read(uv_stream_t* stream, ssize_t got, const uv_buf_t* in) {
  if (got == 0) return;  // nothing there after all
  if (got < 0) {         // the end, or an error; nothing is queued, or it would not be read
    end_connection(stream);
    return;
  }
  const uv_buf_t out = uv_buf_init(in->base, (unsigned)got);
  int sent = uv_try_write(stream, &out, 1);
  if (sent == UV_EAGAIN) sent = 0;
  if (sent < 0) {
    end_connection(stream);
  } else if (sent < got) {
    if (queue(stream, in->base + sent, (size_t)(got - sent)) != 0) end_connection(stream);
  }
}

static void on_connection(uv_stream_t* listener, int status) {
  check(status, "accept");
  uv_tcp_t* tcp = malloc(sizeof(*tcp));
  check(tcp == NULL ? UV_ENOMEM : 0, "malloc");
  check(uv_tcp_init(listener->loop, tcp), "uv_tcp_init");
  check(uv_accept(listener, (uv_stream_t*)tcp), "uv_accept");
  if (uv_tcp_nodelay(tcp, 1) != 0 || uv_read_start((uv_stream_t*)tcp, alloc, on_read) != 0) {
    end_connection((uv_stream_t*)tcp);
  }
}

int main(int argc, char** argv) {
  (void)argv;
  if (argc > 1) return printf("libuv %s\n", uv_version_string()) < 0;
  signal(SIGPIPE, SIG_IGN);
  uv_tcp_t listener;
  check(uv_tcp_init(uv_default_loop(), &listener), "uv_tcp_init");
  struct sockaddr_in address;
  check(uv_ip4_addr("127.0.0.1", 0, &address), "uv_ip4_addr");
  check(uv_tcp_bind(&listener, (const struct sockaddr*)&address, 0), "uv_tcp_bind");
  check(uv_listen((uv_stream_t*)&listener, kBacklog, on_connection), "uv_listen");
  int size = sizeof(address);
  check(uv_tcp_getsockname(&listener, (struct sockaddr*)&address, &size), "uv_tcp_getsockname");
  printf("listening on tcp://127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
