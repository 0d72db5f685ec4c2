#include "app/child.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>

#include "fovea/error.h"

namespace fovea {
namespace {

volatile std::sig_atomic_t running_child = 0;

extern "C" void pass_on(int) {
  if (running_child > 0) ::kill(static_cast<pid_t>(running_child), SIGTERM);
}

// While it lives, SIGINT and SIGTERM are the child's.
class PassSignals {
 public:
  PassSignals() {
    struct sigaction action = {};
    action.sa_handler = pass_on;
    action.sa_flags = SA_RESTART;  // reading the child's last words goes on
    ::sigaction(SIGINT, &action, &old_int_);
    ::sigaction(SIGTERM, &action, &old_term_);
  }
  ~PassSignals() {
    ::sigaction(SIGINT, &old_int_, nullptr);
    ::sigaction(SIGTERM, &old_term_, nullptr);
  }
  PassSignals(const PassSignals&) = delete;
  PassSignals& operator=(const PassSignals&) = delete;

 private:
  struct sigaction old_int_ = {}, old_term_ = {};
};

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void read_lines_of(int descriptor, const std::function<void(const std::string&)>& take) {
  std::string rest;
  char part[1 << 14];
  for (;;) {
    const ssize_t got = ::read(descriptor, part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    rest.append(part, static_cast<std::size_t>(got));
    std::size_t begin = 0;
    for (std::size_t end; (end = rest.find('\n', begin)) != std::string::npos; begin = end + 1) {
      take(rest.substr(begin, end - begin));
    }
    rest.erase(0, begin);
  }
}

}  // namespace

int run_child(const std::vector<std::string>& words,
              const std::function<void(const std::string& line)>& take) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(words[0] + ": " + std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const PassSignals signals;
  pid_t child = 0;
  const int error = ::posix_spawn(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    throw Error(words[0] + ": cannot run: " + std::strerror(error));
  }
  running_child = child;
  std::exception_ptr failure;
  try {
    read_lines_of(ends[0], take);
  } catch (...) {
    failure = std::current_exception();
    ::kill(child, SIGTERM);
  }
  ::close(ends[0]);
  const int status = wait_for(child);
  running_child = 0;
  if (failure) std::rethrow_exception(failure);
  return status;
}

std::string find_tool(const std::string& name, const char* variable) {
  namespace fs = std::filesystem;
  if (const char* given = std::getenv(variable); given && *given) return given;
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& place :
       {here / name, here / ".." / "libexec" / "fovea" / name, here / ".." / "fit" / name}) {
    if (::access(place.c_str(), X_OK) == 0) return fs::weakly_canonical(place).string();
  }
  return {};
}

}  // namespace fovea
