// Threads that wait for work without going to sleep at once: a training step is a hundred pieces of parallel work of some
// 100 microseconds each, and to wake a thread takes half as long. TensorFlow's pool sleeps sooner.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "tensorflow/core/platform/denormal.h"

namespace folio {

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Team {
 public:
  // The process' team, of as many threads as its first caller asks for, itself one of them.
  static Team& Shared(int threads) {
    static Team* team = new Team(threads - 1);  // never deleted: its threads end with the process
    return *team;
  }

  // Runs f(piece) for pieces [0, count), which the threads take one after another; a thread that comes late costs
  // nothing. The calling thread takes part. Whoever calls while the team is at work, works alone.
  template <typename F>
  void Run(int64_t count, const F& f) {
    tensorflow::port::ScopedFlushDenormal flush;
    if (workers_ == 0 || count < 2 || !busy_.try_lock()) {
      for (int64_t piece = 0; piece < count; piece++) f(piece);
      return;
    }
    call_ = [](const void* function, int64_t piece) { (*static_cast<const F*>(function))(piece); };
    function_ = &f;
    count_ = count;
    next_ = 0;
    open_ = true;
    generation_++;
    if (asleep_ > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    Work();
    open_ = false;
    for (int spins = 0; inside_ > 0; spins++) spins < 10'000 ? Pause() : std::this_thread::yield();
    busy_.unlock();
  }

 private:
  explicit Team(int workers) : workers_(workers) {
    for (int i = 0; i < workers; i++) std::thread([this] { Loop(); }).detach();
  }

  void Work() {
    for (int64_t piece = next_++; piece < count_; piece = next_++) call_(function_, piece);
  }

  // A worker is inside before it looks whether the work is open, and the caller closes it before it looks whether anybody
  // is inside: so nobody works on what is gone.
  void Loop() {
    tensorflow::port::ScopedFlushDenormal flush;
    uint64_t seen = 0;
    for (;;) {
      Await(seen);
      seen = generation_;
      inside_++;
      if (open_) Work();
      inside_--;
    }
  }

  void Await(uint64_t seen) {
    const auto patience = std::chrono::microseconds(500);
    const auto start = std::chrono::steady_clock::now();
    do {
      for (int i = 0; i < 64; i++) {
        if (generation_ != seen) return;
        Pause();
      }
      std::this_thread::yield();  // to TensorFlow's own threads
    } while (std::chrono::steady_clock::now() - start < patience);
    std::unique_lock<std::mutex> lock(mutex_);
    asleep_++;
    wake_.wait(lock, [&] { return generation_ != seen; });
    asleep_--;
  }

  const int workers_;
  std::mutex busy_, mutex_;
  std::condition_variable wake_;
  void (*call_)(const void*, int64_t) = nullptr;
  const void* function_ = nullptr;
  int64_t count_ = 0;
  alignas(64) std::atomic<uint64_t> generation_{0};
  std::atomic<bool> open_{false};
  std::atomic<int> asleep_{0};
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<int> inside_{0};
};

}  // namespace folio
