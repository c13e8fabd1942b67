#include "models/shared_page.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

#include "echo_load/failure.h"

namespace models {
namespace {

void* Map(int fd) {
  void* const memory =
      ::mmap(nullptr, sizeof(SharedPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) echo_load::FailCall("mmap");
  return memory;
}

}  // namespace

OwnedPage::OwnedPage() : fd_(::memfd_create("counters of a server", MFD_CLOEXEC)) {
  if (fd_.Get() < 0) echo_load::FailCall("memfd_create");
  if (::ftruncate(fd_.Get(), sizeof(SharedPage)) != 0) echo_load::FailCall("ftruncate");
  page_ = ::new (Map(fd_.Get())) SharedPage;
}

OwnedPage::~OwnedPage() { ::munmap(page_, sizeof(SharedPage)); }

SharedPage& MapSharedPage(int fd) {
  return *std::launder(static_cast<SharedPage*>(Map(fd)));  // made by the other process
}

}  // namespace models
