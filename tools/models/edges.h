#pragma once
namespace models {
inline void RunEdges(bool) {}
}  // namespace models
