// Everything of weir's core but the logger (weir/log.h).
//
// Start with serve.h (a whole server), then handler.h (what you implement) and connection.h (what
// you call). event_loop.h is for programs that run the loop themselves.

#pragma once

#include "weir/address.h"         // IWYU pragma: export
#include "weir/callbacks.h"       // IWYU pragma: export
#include "weir/clock.h"           // IWYU pragma: export
#include "weir/connection.h"      // IWYU pragma: export
#include "weir/connection_ref.h"  // IWYU pragma: export
#include "weir/error.h"           // IWYU pragma: export
#include "weir/event_loop.h"      // IWYU pragma: export
#include "weir/function.h"        // IWYU pragma: export
#include "weir/handler.h"         // IWYU pragma: export
#include "weir/options.h"         // IWYU pragma: export
#include "weir/serve.h"           // IWYU pragma: export
#include "weir/server.h"          // IWYU pragma: export
#include "weir/session.h"         // IWYU pragma: export
#include "weir/stats.h"           // IWYU pragma: export
#include "weir/version.h"         // IWYU pragma: export
