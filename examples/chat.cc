// A chat: each line that a client sends goes to all the others, with its name before it.
//
//     chat --listen tcp://127.0.0.1:7000         and then, a few times:  nc 127.0.0.1 7000
//
// What it shows of weir: framing by a delimiter without scanning a byte twice (Scanned), one buffer
// for all receivers (WriteShared), a context for each connection (Emplace), refusing input
// (kReject), what to do about a client that does not read (Pending), and, with --loops, how loops
// tell each other something: by a task for each loop (EventLoop::Post), not for each client.

#include <weir/weir.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "options.h"

namespace {

constexpr example::About kAbout{
    "chat",
    "A chat: each line goes to all others, with the name of who sent it. /name NAME sets the\n"
    "name, /who lists who is there. A line has at most 1 KiB, and who leaves 1 MiB unread is\n"
    "dropped.\n",
    true};

constexpr std::size_t kLongestLine = 1024;
constexpr std::size_t kLongestName = 32;

// Output that a client may leave unread. The others wait for nobody: who falls behind by more is
// dropped.
constexpr std::size_t kMostUnread = 1 << 20;

// What the chat knows of a client: its connection's context.
struct Member {
  std::string name;
  bool too_slow = false;
};

using Text = std::shared_ptr<const std::string>;

class Chat;

// What the loops share: the names, and each other. Any thread.
class Room {
 public:
  void Enter(Chat& chat) {
    const std::lock_guard lock(mutex_);
    chats_.push_back(&chat);
  }
  void Leave(Chat& chat) {
    const std::lock_guard lock(mutex_);
    std::erase(chats_, &chat);
  }

  // To the clients of all loops but `from`'s.
  void TellOthers(const Chat& from, const Text& text);

  std::string NewName() {
    const std::lock_guard lock(mutex_);
    std::string name;
    do {
      name = "guest-" + std::to_string(++guests_);
    } while (IsTaken(name));
    names_.push_back(name);
    return name;
  }
  bool Rename(std::string_view before, std::string_view now) {
    const std::lock_guard lock(mutex_);
    if (IsTaken(now)) return false;
    *std::find(names_.begin(), names_.end(), before) = now;
    return true;
  }
  void Forget(std::string_view name) {
    const std::lock_guard lock(mutex_);
    names_.erase(std::find(names_.begin(), names_.end(), name));
  }
  [[nodiscard]] std::string Names() const {
    const std::lock_guard lock(mutex_);
    std::string all;
    for (const std::string& name : names_) all += (all.empty() ? "" : ", ") + name;
    return all;
  }

 private:
  [[nodiscard]] bool IsTaken(std::string_view name) const {
    return std::find(names_.begin(), names_.end(), name) != names_.end();
  }

  mutable std::mutex mutex_;
  std::vector<Chat*> chats_;
  std::vector<std::string> names_;  // in the order in which they came
  std::size_t guests_ = 0;
};

// The clients of one loop. Made and destroyed on its thread.
class Chat final : public weir::Handler {
 public:
  Chat(Room& room, weir::EventLoop& loop, std::size_t listeners)
      : room_(room), loop_(loop), listeners_(listeners) {
    room_.Enter(*this);
  }
  Chat(const Chat&) = delete;
  Chat& operator=(const Chat&) = delete;
  ~Chat() override { room_.Leave(*this); }

  [[nodiscard]] weir::EventLoop& loop() const { return loop_; }

  // To all clients of this loop but `from`.
  void Tell(const weir::Connection* from, const Text& text) {
    for (weir::Connection* const member : members_) {
      if (member == from) continue;
      // It leaves when the turn ends. False once closed: OnClose will take that one off the list.
      if (member->WriteShared(text) && member->Pending() > kMostUnread) DropIfSlow(*member);
    }
  }

  void OnStart(weir::EventLoop& loop) override {
    if (loop.Index() == 0) example::PrintListeners(loop, listeners_);
  }

  void OnOpen(weir::Connection& connection) override {
    const std::string& name = connection.Emplace<Member>(Member{.name = room_.NewName()}).name;
    connection.Write("* welcome, " + name + " (/name NAME, /who)\n");
    Broadcast(connection, "* " + name + " joined\n");
    members_.push_back(&connection);
  }

  std::size_t OnData(weir::Connection& connection, std::string_view in) override {
    std::size_t line = 0;                     // where the line begins
    std::size_t scan = connection.Scanned();  // no newline before this: an earlier call has looked
    for (std::size_t end; (end = in.find('\n', scan)) != in.npos; line = scan = end + 1) {
      if (end - line > kLongestLine) return Refuse(connection);
      OnLine(connection, in.substr(line, end - line));
    }
    if (in.size() - line > kLongestLine) return Refuse(connection);
    return line;  // the rest of a line comes back, in front of more
  }

  void OnClose(weir::Connection& connection, weir::CloseReason, std::error_code) override {
    std::erase(members_, &connection);  // a reference is good until here
    const auto& [name, too_slow] = connection.Get<Member>();
    room_.Forget(name);
    Broadcast(connection, "* " + name + (too_slow ? " was dropped: too slow\n" : " left\n"));
  }

 private:
  void OnLine(weir::Connection& from, std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);  // telnet
    if (line.empty()) return;
    if (line.starts_with("/name ")) return Rename(from, line.substr(6));
    if (line == "/who") return List(from);
    if (line.starts_with('/')) {
      from.Write("* there is /name NAME, and /who\n");
      return;
    }
    Broadcast(from, from.Get<Member>().name + ": " + std::string(line) + "\n");
  }

  void Rename(weir::Connection& from, std::string_view name) {
    if (!IsName(name)) {
      from.Write("* a name has 1 to " + std::to_string(kLongestName) + " bytes and no blank\n");
    } else if (!room_.Rename(from.Get<Member>().name, name)) {
      from.Write("* that name is taken\n");
    } else {
      std::string& now = from.Get<Member>().name;
      const std::string before = std::exchange(now, name);
      from.Write("* you are " + now + "\n");
      Broadcast(from, "* " + before + " is now " + now + "\n");
    }
  }

  void List(weir::Connection& to) const { to.Write("* here: " + room_.Names() + "\n"); }

  // The lines before the long one have been passed on. Its sender gets this line, and then the end.
  static std::size_t Refuse(weir::Connection& connection) {
    connection.Write("* a line has at most " + std::to_string(kLongestLine) + " bytes: goodbye\n");
    return kReject;
  }

  // To all but `from`. The text is made once, however many hear it.
  void Broadcast(const weir::Connection& from, std::string line) {
    const auto text = std::make_shared<const std::string>(std::move(line));
    Tell(&from, text);
    room_.TellOthers(*this, text);
  }

  // Much may have been written to it in this one turn: that is not its fault, so it leaves first.
  // No callback runs inside Abort(): OnClose comes later, so the list above stays as it is.
  static void DropIfSlow(weir::Connection& member) {
    member.FlushNow();
    if (member.Pending() <= kMostUnread) return;
    member.Get<Member>().too_slow = true;
    member.Abort();  // Close() would go on waiting for it
  }

  static bool IsName(std::string_view name) {
    const auto is_visible = [](unsigned char c) { return std::isgraph(c) || c >= 0x80; };  // UTF-8
    return !name.empty() && name.size() <= kLongestName &&
           std::all_of(name.begin(), name.end(), is_visible);
  }

  Room& room_;
  weir::EventLoop& loop_;
  const std::size_t listeners_;
  std::vector<weir::Connection*> members_;  // from OnOpen to OnClose
};

// What one loop posts to another runs there in that order, so nobody hears a client's lines in
// another order than they came. A chat lives until its loop has ended, and tasks that are left by
// then are not run. (False: that loop has ended, and its clients are gone.)
void Room::TellOthers(const Chat& from, const Text& text) {
  const std::lock_guard lock(mutex_);
  for (Chat* const chat : chats_) {
    if (chat != &from) chat->loop().Post([chat, text] { chat->Tell(nullptr, text); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto [urls, options, exit_code] = example::ParseOptions(argc, argv, kAbout);
  if (exit_code) return *exit_code;
  Room room;
  const auto make_chat = [&room, listeners = urls.size()](weir::EventLoop& loop) {
    return std::make_unique<Chat>(room, loop, listeners);
  };
  return weir::Serve(make_chat, urls, options);
}
