/* Layouts that differ between ABIs, one by one. */
#ifndef LAYOUT_H
#define LAYOUT_H
#define COUNT 3
#define SQUARE(x) ((x) * (x))
#define NAME(prefix, n) prefix##_##n
#define PACKED __attribute__((packed))

struct bits1 { unsigned a : 1; unsigned b : 31; unsigned c : 1; };
struct bits2 { char c; int x : 3; int y : 30; short z : 5; char d; };
struct bits3 { unsigned long long a : 40; unsigned long long b : 24; unsigned char c; };
struct bits4 { char c; int : 0; char d; };
struct bits5 { char c; long : 0; int x : 3; };
struct bits6 { int a : 3; int : 5; int b : 7; };
struct bits7 { short a : 10; short b : 10; char c : 4; long d : 50; };
struct bits8 { _Bool a : 1; _Bool b : 1; unsigned char c : 7; };
struct bits9 { char a; unsigned long long : 20; char b; };
struct bits10 { int x; long long y : 33; int z; };
struct pbits1 { char c; int x : 3; int y : 30; short z : 5; char d; } PACKED;
struct pbits2 { int a : 3; int : 0; int b : 2; } PACKED;
struct PACKED pbits3 { unsigned long long a : 40, b : 24, c : 1; };
union ubits { int a : 3; long b : 33; char c; };
union ubits2 { int a : 3; };
struct p1 { char c; int i; long l; } PACKED;
struct p2 { char c; struct p1 p; short s; };
struct p3 { char c; int i PACKED; long l; };
struct p4 { char c; int i __attribute__((packed, aligned(2))); long l; };
struct a1 { char c; int x __attribute__((aligned(16))); char d; };
struct a2 { char c; } __attribute__((aligned(8)));
struct __attribute__((aligned(32), packed)) a3 { char c; int i; };
struct a4 { struct a2 a; char c; };
struct a5 { _Alignas(16) char c; char d; };
struct ab { char c; int x : 4 __attribute__((aligned(8))); int y : 4; };
typedef unsigned long long u64_4 __attribute__((aligned(4)));
struct a6 { int a; u64_4 b; };
typedef struct { char a; } __attribute__((aligned(4))) anon_t;
struct a7 { anon_t x[2]; char c; };
struct flex1 { int n; char data[]; };
struct flex2 { long n; struct { int a; short b; } items[0]; };
struct flex3 { int n; union { char c[0]; int i[0]; }; };
struct arr { int a[COUNT][SQUARE(COUNT)][sizeof(struct p1)]; char b[sizeof(int) * 2 + (1 << 3)]; char c[COUNT ? 5 : 9]; };
struct arr2 { char a[sizeof(((struct arr *)0)->a[0])]; char b[__builtin_offsetof(struct p2, s)]; char c[-1 < 0U ? 1 : 2]; };
struct anon { int a; union { struct { short b, c; }; int d; }; struct { int e; struct { char f; }; } g; };
struct fptr { int (*f)(int, char *, ...); void (*g[3])(void); int *(*(*h)(long))(char); const char *const *volatile p; int (*m)[4]; };
enum small { S_A, S_B = 5, S_C };
enum neg { N_A = -1, N_B };
enum big { B_A = 0x100000000ULL, B_B };
enum big2 { BB_A = -1, BB_B = 0xffffffffU };
enum PACKED tiny { T_A, T_B = 200 };
enum PACKED tiny2 { T2_A, T2_B = 300 };
enum shifted { SH_A = 1 << 4, SH_B = SH_A | 3, SH_C = ~0U, SH_D = 'a' };
struct enums { char c; enum small s; char d; enum big b; enum tiny t; enum neg n : 4; enum big2 bb; };
struct ints { char a; signed char b; unsigned char c; short int d; int unsigned e; long f; long long unsigned g; unsigned long int h; __int128 i; unsigned __int128 j; _Bool k; float l; double m; };
struct longdouble { char c; long double d; };
struct NAME(pasted, COUNT) { int NAME(member, 1); };
#pragma pack(push, 1)
struct pk1 { char c; int i; long l; int b : 3; };
#pragma pack(2)
struct pk2 { char c; int i; long l; int b : 3; long bb : 50; };
#pragma pack(pop)
struct pk0 { char c; int i; };
struct nested { struct inner { int a; char b; } x, *y, z[2]; enum inner_e { IE_A, IE_B } e; };
struct inner2 { struct inner i; char c; };
struct list { struct list *next; struct later *later; };
struct later { struct list l; int x; };
typedef struct fwd fwd_t;
struct fwd { int a; };
struct usesfwd { fwd_t f; fwd_t *p; };
struct empty { };
struct hasempty { int a; struct empty e; char b; };
typedef int arr_t[5];
struct uses_arr { char c; const arr_t a; arr_t b[2]; };
typedef int (*fn_t)(struct list *, int (*)(void));
struct uses_fn { fn_t f; fn_t fs[2]; };
struct qual { const volatile int a; int *const restrict b; char const *c; };
struct x128 { char c; __int128 x : 65; };
static inline int f(int x) { struct local { int a; } l; return l.a; }
extern struct list *make_list(void), *other;
static const struct list table[] = { { 0, 0 }, { 0, 0 } };
struct { int a; } variable;
int (*fp)(void) = 0;
_Static_assert(sizeof(int) == 4, "int");
#if defined(COUNT) && COUNT >= 3 && !defined(NOPE)
struct cond { int yes; };
#else
struct cond { int no[100]; };
#endif
#ifdef NOPE
struct cond2 { don't parse this };
#elif COUNT == 3
struct cond2 { char c; };
#endif
#endif
