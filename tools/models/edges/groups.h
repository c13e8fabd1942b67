// The groups of lines: each plays its cases, one connection (or listener) for each line.

#pragma once

#include "models/edges.h"

namespace models::edges {

[[nodiscard]] EdgeGroup EightyBytes();
[[nodiscard]] EdgeGroup MoreBytes();
[[nodiscard]] EdgeGroup TheEnd();
[[nodiscard]] EdgeGroup UrgentByte();
[[nodiscard]] EdgeGroup RoomForOutput();
[[nodiscard]] EdgeGroup QueuedClients();
[[nodiscard]] EdgeGroup ThreadPerEvent();
[[nodiscard]] EdgeGroup ThreadPerEnd();
[[nodiscard]] EdgeGroup WeirReads();
[[nodiscard]] EdgeGroup WeirAccepts();

}  // namespace models::edges
