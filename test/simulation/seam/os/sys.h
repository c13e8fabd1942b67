// The simulation's seam: src/os/sys.h's names, led to the simulated kernel.

#pragma once

#include "simulation/calls.h"

namespace weir::sys {

using sim::calls::Accept;
using sim::calls::AllowedCpus;
using sim::calls::AtUrgentMark;
using sim::calls::Bind;
using sim::calls::Chmod;
using sim::calls::Close;
using sim::calls::Condition;
using sim::calls::Connect;
using sim::calls::CurrentThread;
using sim::calls::EpollControl;
using sim::calls::EpollCreate;
using sim::calls::EpollWait;
using sim::calls::EventFd;
using sim::calls::ForkGuard;
using sim::calls::GetOption;
using sim::calls::GetPeerName;
using sim::calls::GetSocketName;
using sim::calls::InterfaceIndex;
using sim::calls::InterfaceName;
using sim::calls::Listen;
using sim::calls::LStat;
using sim::calls::Mutex;
using sim::calls::Now;
using sim::calls::OpenToRead;
using sim::calls::PhysicalMemory;
using sim::calls::Point;
using sim::calls::Read;
using sim::calls::Recv;
using sim::calls::Send;
using sim::calls::SendMessage;
using sim::calls::SetAllowedCpus;
using sim::calls::SetNonBlockingAndCloseOnExec;
using sim::calls::SetOption;
using sim::calls::Shutdown;
using sim::calls::SignalFd;
using sim::calls::SignalMask;
using sim::calls::Socket;
using sim::calls::StartThread;
using sim::calls::Thread;
using sim::calls::ThreadSlot;
using sim::calls::Unlink;
using sim::calls::UnreadBytes;
using sim::calls::WriteEventFd;
using sim::calls::Yield;

}  // namespace weir::sys
