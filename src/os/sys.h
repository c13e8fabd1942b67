// The seam: all of weir reaches the kernel, the clock and the thread by the names in weir::sys.
//
// In the library they are kernel.h's inline functions, at no cost. The unit tests compile the same
// sources with test/support/seam before src in the search path, whose own os/sys.h has the same
// names with counters, a clock that the test sets, and failures on demand; a simulated kernel comes
// in the same way. Two seams in one binary would be two definitions of one function: never link
// them together.

#pragma once

#include "os/kernel.h"

namespace weir::sys {

using kernel::Accept;
using kernel::AllowedCpus;
using kernel::AtUrgentMark;
using kernel::Bind;
using kernel::Chmod;
using kernel::Close;
using kernel::Condition;
using kernel::Connect;
using kernel::CurrentThread;
using kernel::EpollControl;
using kernel::EpollCreate;
using kernel::EpollWait;
using kernel::EventFd;
using kernel::ForkGuard;
using kernel::GetOption;
using kernel::GetPeerName;
using kernel::GetSocketName;
using kernel::InterfaceIndex;
using kernel::InterfaceName;
using kernel::Listen;
using kernel::LStat;
using kernel::Mutex;
using kernel::Now;
using kernel::OpenToRead;
using kernel::PhysicalMemory;
using kernel::Point;
using kernel::Read;
using kernel::Recv;
using kernel::Send;
using kernel::SendMessage;
using kernel::SetAllowedCpus;
using kernel::SetNonBlockingAndCloseOnExec;
using kernel::SetOption;
using kernel::Shutdown;
using kernel::SignalFd;
using kernel::SignalMask;
using kernel::Socket;
using kernel::StartThread;
using kernel::Thread;
using kernel::ThreadSlot;
using kernel::Unlink;
using kernel::UnreadBytes;
using kernel::WriteEventFd;
using kernel::Yield;

}  // namespace weir::sys
