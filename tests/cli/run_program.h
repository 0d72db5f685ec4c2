// Runs the program as a user does: arguments and standard input in; both outputs and the exit
// status out.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "app/tiny_folder.h"

namespace fovea::test {

struct Ran {
  int status = -1;  // exit status; 128 + signal
  std::string out, err;
};

struct How {
  std::string input;
  std::vector<std::string> environment;  // "NAME=value"
  std::string out = "";                  // a file or device for standard output
};

inline Ran run_program(const std::vector<std::string>& arguments, const How& how = {}) {
  const TemporaryFolder folder;
  const std::string in = (folder.path() / "in").string();
  const std::string out = how.out.empty() ? (folder.path() / "out").string() : how.out;
  const std::string err = (folder.path() / "err").string();
  write_text(in, how.input);
  const pid_t child = ::fork();
  if (child == 0) {
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    ::dup2(::open(in.c_str(), O_RDONLY), STDIN_FILENO);
    ::dup2(::open(out.c_str(), flags, 0600), STDOUT_FILENO);
    ::dup2(::open(err.c_str(), flags, 0600), STDERR_FILENO);
    for (const std::string& variable : how.environment)
      ::putenv(const_cast<char*>(variable.c_str()));
    std::vector<char*> argv = {const_cast<char*>(FOVEA_PROGRAM)};
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    ::execv(FOVEA_PROGRAM, argv.data());
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  Ran ran;
  ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (how.out.empty()) ran.out = read_text(out);
  ran.err = read_text(err);
  return ran;
}

}  // namespace fovea::test
